"""Settings as MLflow has them: one parameter a setting, so that two runs differ in what differs."""

from __future__ import annotations

from flows.run.known_by import flat


def test_settings_are_dotted_and_gates_go_by_their_names() -> None:
    floors = [{"gate": "floor", "limit": 0.9, "metric": None}, {"gate": "floor", "limit": 0.8, "metric": "macro_f1"}]
    values = {"seed": 0, "members": {"networks": [{"name": "unet"}], "empty": {}}, "gates": floors, "none": []}
    assert flat(values) == {
        "seed": 0,
        "members.networks": [{"name": "unet"}],
        "members.empty": {},
        "gates.floor.limit": 0.9,
        "gates.floor macro_f1.limit": 0.8,
        "none": [],
    }
