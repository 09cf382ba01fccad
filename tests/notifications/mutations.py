"""The mutations of evaluation and delivery that the property test of the outbox must notice."""

from mutation_testing.mutation import Mutation

MUTATIONS = (
    Mutation(
        "a lease is not checked when its attempt is recorded",
        "notifications/notifications.sql",
        "WHERE space_id = %(space_id)s AND id = %(message_id)s AND lease_id = %(lease_id)s\nRETURNING extract",
        "WHERE space_id = %(space_id)s AND id = %(message_id)s\nRETURNING extract",
    ),
    Mutation(
        "a process that was stopped sends although its lease is over",
        "notifications/delivery.py",
        "if time.monotonic() - leased.leased_at > START_SECONDS:",
        "if time.monotonic() < leased.leased_at:",
    ),
    Mutation(
        "a lease that ran out does not count as an attempt that may have arrived",
        "notifications/notifications.sql",
        "ambiguous = m.ambiguous + (due.state = 'sending')::integer",
        "ambiguous = m.ambiguous",
    ),
    Mutation(
        "attempts are not recorded before they are made",
        "notifications/delivery.py",
        'await tx.execute(QUERIES["insert_attempt"], space_id=space_id, message_id=row["id"], number=row["attempts"])',
        "pass",
    ),
    Mutation(
        "attempts of processes that died stay open",
        "notifications/delivery.py",
        'await tx.execute(QUERIES["close_lost_attempts"], space_id=space_id, message_id=row["id"])',
        "pass",
    ),
    Mutation(
        "a repetition is not marked",
        "notifications/delivery.py",
        'is_repetition = row["is_repetition"] or (not channel.is_idempotent and row["ambiguous"] > 0)',
        "is_repetition = False",
    ),
    Mutation(
        "a response of 500 counts as nothing done",
        "notifications/channels/base.py",
        "if status in {408, 425, 429, 503}:",
        "if status in {408, 425, 429, 500, 503}:",
    ),
    Mutation(
        "channels that do not recognise repetitions are tried without end",
        "notifications/delivery.py",
        "MAX_AMBIGUOUS = 2",
        "MAX_AMBIGUOUS = 9",
    ),
    Mutation(
        "Retry-After is not obeyed",
        "notifications/delivery.py",
        'return "queued", max(delay, outcome.retry_after or 0.0)',
        'return "queued", delay',
    ),
    Mutation(
        "a message is written anew for each attempt",
        "notifications/delivery.py",
        'content = row["content"] and Content.model_validate(row["content"])',
        'content = row["content"] if row["group_id"] is None else None',
    ),
    Mutation(
        "the id of a webhook is another one for each attempt",
        "notifications/channels/webhook.py",
        'self._headers(f"msg_{content.message_id}", body)',
        'self._headers(f"msg_{content.message_id}_{time.time_ns()}", body)',
    ),
    Mutation(
        "PagerDuty's key is that of the message, not of the group",
        "notifications/channels/pagerduty.py",
        'f"windsock/{content.group_id}"',
        'f"windsock/{content.message_id}"',
    ),
    Mutation(
        "a message overtakes an earlier one of its group",
        "notifications/notifications.sql",
        "o.group_id = m.group_id AND o.id < m.id AND",
        "o.group_id = m.group_id AND o.id <> o.id AND",
    ),
    Mutation(
        "events are marked as evaluated in a transaction before that of their messages",
        "notifications/queue.py",
        "        if events:\n            await _evaluate(tx, space_id, events, now, has_mail=has_mail)\n",
        '        await tx.execute(QUERIES["finish_events"], space_id=space_id, event_ids=[e.id for e in events])\n'
        "    async with db.tenant_transaction(space_id) as tx:\n"
        "        if events:\n            await _evaluate(tx, space_id, events, now, has_mail=has_mail)\n",
    ),
    Mutation(
        "decisions without a message are not written",
        "notifications/queue.py",
        "        for decision in evaluator.decisions\n",
        "        for decision in evaluator.decisions if decision.message_id\n",
    ),
    Mutation(
        "a group that closes keeps its key until its successor was stored",
        "notifications/queue.py",
        "if group.is_changed and not group.is_new]",
        "if group.is_changed and not group.is_new and group.closed_at is None]",
    ),
    Mutation(
        "an incident is grouped into a message that was sent already",
        "notifications/notifications.sql",
        "WHERE space_id = %(space_id)s AND state = 'queued' AND attempts = 0 AND group_id IS NOT NULL\n",
        "WHERE space_id = %(space_id)s AND attempts < 2 AND group_id IS NOT NULL\n",
    ),
)
