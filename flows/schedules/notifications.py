"""Notifications: a run failed, a version failed the gates, an approval is wanted, production was rolled back.

Prefect's notification blocks do the sending. Whom and what is in `infra/deployments.yaml`; addresses are in the
environment and are never stored or printed here. One that does not arrive fails nothing: it is said in the log.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from components import offered, texts
from components.secrecy import scrub
from flows.base.project import Project, find
from flows.schedules.declared import FILE, Channel, Occasion, read

if TYPE_CHECKING:
    from prefect.blocks.abstract import NotificationBlock
    from prefect.client.schemas.objects import FlowRun, State

    from components.artifacts import Decision

log = logging.getLogger("convoy.notifications")
HIDDEN = 4  # characters: shorter parts of an address are words, not secrets


def tell(project: Project, occasion: Occasion, subject: str, body: str) -> dict[str, str]:
    """Tell every channel that is set up and wants to know; by channel `sent`, or why not.

    Nothing is sent where the project has no such file. Never raises for a channel that does not work: what is told is
    more important than the telling, and the caller goes on. It takes some seconds at most.
    """
    if not (project.root / FILE).is_file():
        return {}
    outcome = {}
    for channel in open_channels(read(project.root).notifications, occasion):
        outcome[_name(channel)] = _sent(channel, occasion, texts.shown(scrub(subject)), texts.printable(scrub(body)))
    for name, said in outcome.items():
        log.log(
            logging.INFO if said == "sent" else logging.WARNING, "notification of %s by %s: %s", occasion, name, said
        )
    return outcome


def test(project: Project) -> dict[str, str]:
    """One notification by every channel that is set up, whatever it wants to know; by channel `sent`, or why not."""
    there = [channel for channel in read(project.root).notifications if os.environ.get(channel.address)]
    subject, body = "Convoy: a test", "Notifications from this project arrive here."
    return {_name(channel): _sent(channel, channel.of[0], subject, body) for channel in there if channel.of}


def open_channels(channels: Sequence[Channel], occasion: Occasion) -> list[Channel]:
    """Those whose address is set, and that want to know."""
    return [channel for channel in channels if occasion in channel.of and os.environ.get(channel.address)]


def of_failure(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """A hook of Prefect's, for flows that failed or crashed."""
    from flows.base.stopping import was_asked

    if not was_asked(flow_run.id):
        subject = f"{flow.name} · {flow_run.name} {(state.name or state.type.value).lower()}"
        tell(find(), "failure", subject, f"{state.message}{_page(flow_run)}")


def of_decision(project: Project, decision: Decision) -> None:
    """Tell of a version that failed the gates, of one that waits for people, and of production that was rolled back."""
    from components.registry import approvals
    from components.registry.memory import tracking

    about = f"{decision.name} version {decision.version}"
    match decision.action:
        case "pass" if decision.alias is not None:
            waiting = approvals.waiting(tracking.connect(project.root), decision.name)
            if waiting is not None and waiting.version == decision.version:
                version = str(decision.version)
                command = offered.command("convoy", "approve", decision.name, "--version", version, "--reason", "…")
                ways = f"`{command}`, or the flow `approval`"
                tell(project, "approval", f"{about} waits for approval", f"{waiting.missing} more wanted: {ways}")
        case "fail":
            tell(project, "gates-failed", f"{about} failed the gates", decision.reason)
        case "roll back":
            tell(project, "rollback", f"{about} is in production again", f"By {decision.by}: {decision.reason}")
        case "retire":
            tell(project, "rollback", f"{about} was taken out of production", f"By {decision.by}: {decision.reason}")


def saved(channels: Sequence[Channel], occasion: Occasion) -> list[UUID]:
    """The channels' blocks, kept (encrypted) by the Prefect server for its automations; their ids."""
    found = []
    for channel in open_channels(channels, occasion):
        name = re.sub(r"[^a-z0-9]+", "-", f"convoy-{channel.kind}-{channel.address}".lower())
        identifier = _block(channel, occasion).save(name, overwrite=True)
        found.append(cast(UUID, identifier))  # outside of an event loop it is no coroutine
    return found


def _name(channel: Channel) -> str:
    return f"{channel.kind} ({channel.address})"


def _page(flow_run: FlowRun) -> str:
    from prefect.settings import PREFECT_UI_URL

    address = PREFECT_UI_URL.value()
    return f"\n{address}/runs/flow-run/{flow_run.id}" if address else ""


def _sent(channel: Channel, occasion: Occasion, subject: str, body: str) -> str:
    import httpx
    from prefect.blocks.abstract import NotificationError

    try:
        block = _block(channel, occasion)
        with block.raise_on_failure():
            block.notify(*(_worded(channel, words) for words in (body, subject)))  # type: ignore[unused-coroutine]  # outside of an event loop it is none
    except httpx.HTTPStatusError as error:
        return f"the receiver answered {error.response.status_code}"
    except NotificationError as error:
        return _without(os.environ[channel.address], error.log.strip() or "it was not accepted")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        return _without(os.environ[channel.address], f"{type(error).__name__}: {error}")
    return "sent"


def _worded(channel: Channel, words: str) -> str:
    """As the channel takes it for words: Slack would call everybody for `<!channel>`, and somebody for `<@name>`."""
    return words.translate({ord("<"): "‹", ord(">"): "›"}) if channel.kind == "slack" else words


def _block(channel: Channel, occasion: Occasion) -> NotificationBlock:
    from prefect.blocks.notifications import AppriseNotificationBlock, CustomWebhookNotificationBlock, SlackWebhook
    from pydantic import SecretStr

    address = os.environ[channel.address]
    match channel.kind:
        case "webhook":
            # The address is a secret of the block, so the server keeps and shows it as one.
            content = {"subject": "{{subject}}", "body": "{{body}}", "occasion": occasion}
            return CustomWebhookNotificationBlock(
                name="convoy", url="{{address}}", json_data=content, secrets={"address": address}
            )
        case "slack":
            return SlackWebhook(url=SecretStr(address))
        case "email":
            return AppriseNotificationBlock(url=SecretStr(address))


def _without(address: str, text: str) -> str:
    """What went wrong, without any part of the address."""
    for part in sorted(re.split(r"[/:@?&=]+", address), key=len, reverse=True):
        if len(part) > HIDDEN:
            text = text.replace(part, "…")
    return text
