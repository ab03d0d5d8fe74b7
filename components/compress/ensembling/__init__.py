"""Several members → one model.

    members' answers ─┬─ combiners ── choosing ── the model (`combine`)
                      └─ diversity, cost ──────── its report (`report`, `picture`)

The arithmetic inside the graph is `components.models.ensemble`'s; what makes members differ is
`components.training.jobs.members`'s.
"""
