"""One-time messages after a redirect: a code from a fixed list, in a cookie that the next page deletes."""

import re

from fastapi import Request, Response

COOKIE = "windsock_notice"
SECONDS = 60
NOTICES = {
    "signed_out": "You are signed out.",
    "key_revoked": "The API key is revoked.",
    "session_ended": "That browser is signed out.",
    "sessions_ended": "All other browsers are signed out.",
    "space_changed": "The settings are saved.",
    "space_created": "The space is created, with you as admin. Add its members here.",
    "space_deleted": "The space is deleted.",
    "member_added": "The member is added.",
    "member_removed": "The member is removed.",
    "role_changed": "The role is changed.",
    "team_created": "The team is created.",
    "team_changed": "The team is saved.",
    "team_deleted": "The team is deleted.",
    "team_member_added": "The member is added to the team.",
    "team_member_removed": "The member is removed from the team.",
    "user_created": "The user is created. Pass on a sign-in link, or add the user to a space.",
    "user_changed": "The user is saved.",
    "user_deactivated": "The user is deactivated and signed out everywhere.",
    "user_reactivated": "The user is active again.",
    "pipelines_changed": "Pipelines changed: {count}.",
    "connector_saved": "The connector is saved. A sync follows.",
    "connector_deleted": "The connector is deleted.",
    "sync_requested": "The sync is queued.",
    "full_sync_requested": "The full sync is queued.",
    "sync_cancelled": "The sync is cancelled. What it stored stays.",
    "sync_had_ended": "The sync had ended before.",
    "changes_accepted": "The changes are accepted. The next sync applies them.",
    "run_started": "The run is started.",
    "run_already_started": "This form had started this run before. For another run, choose Trigger again.",
    "tasks_cleared": "Task runs cleared: {count}. They run again.",
    "marked": "Airflow has the new state.",
    "note_written": "The note is saved in Airflow.",
    "pipeline_paused": "The pipeline is paused.",
    "pipeline_resumed": "The pipeline is resumed.",
    "approval_sent": "Airflow has the response.",
    "fingerprint_named": "The name is saved.",
    "fingerprint_merged": "The failures are merged into this group.",
    "fingerprint_split": "The failures are in a group of their own, which is this one.",
    "runbook_pinned": "The comment is pinned as the runbook.",
    "runbook_removed": "The runbook is unpinned.",
    "incident_acknowledged": "The incident is acknowledged.",
    "incident_snoozed": "The incident is snoozed.",
    "incident_assigned": "The assignment is saved.",
    "incident_resolved": "The incident is resolved. The next failure within 24 hours reopens it.",
    "rule_saved": "The rule is saved.",
    "rule_deleted": "The rule is deleted.",
    "channel_saved": "The channel is saved. Send a test message.",
    "channel_deleted": "The channel is deleted.",
    "message_queued": "The message is sent again.",
    "personal_settings_saved": "Your notifications are saved.",
    "view_saved": "The view is saved.",
    "view_changed": "The view is changed.",
    "view_deleted": "The view is deleted.",
}
"""Text by code. Cookies hold the code and a number only, so that no address or other site can place a text."""
VALUE = re.compile(r"([a-z_]{1,40})\.(\d{1,9})")


def set_notice(response: Response, code: str, count: int = 0) -> None:
    """Show NOTICES[code] on the next page. Raises KeyError for an unknown code."""
    NOTICES[code]
    response.set_cookie(COOKIE, f"{code}.{count}", max_age=SECONDS, path="/", httponly=True, samesite="lax")


def read_notice(request: Request) -> str | None:
    """Return the text for the cookie; None without one, or for a value that set_notice does not write."""
    match = VALUE.fullmatch(request.cookies.get(COOKIE, ""))
    text = NOTICES.get(match[1]) if match else None
    return text.format(count=int(match[2])) if match and text else None


def clear_notice(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/")
