"""When to record that the alias `champion` was moved, decided from plain facts: no Dagster, clock or MLflow."""

from collections.abc import Sequence

from sensors.decisions import Attempt, Decision, decide_attempt


def champion_key(alias: str | None, last_decision: int) -> str:
    """Key of a request: where the alias points, and the last materialisation of champion_detector (0: none)."""
    return f"champion-{alias}-{last_decision}"


def decide_champion(
    alias: str | None, recorded: str | None, last_decision: int, attempts: Sequence[Attempt], busy: str | None
) -> Decision:
    """Ask for a record when the alias names another version than the last decision left.

    Args:
        alias: Version that MLflow's alias names; None if it names none.
        recorded: Version that serves by the table of decisions; None before there is one.
        last_decision: Number of champion_detector's last materialisation.
        attempts: Earlier runs under `champion_key`.
        busy: What decides on a champion just now, in words: it may be what moved the alias.
    """
    key = champion_key(alias, last_decision)
    if alias == recorded:
        return Decision(key, None, f"version {alias} serves, as recorded" if alias else "no champion yet")
    if alias is None:
        return Decision(
            key,
            None,
            f"the alias is gone; version {recorded} goes on serving the catalogue: set the alias, or roll back",
        )
    what = f"the alias names version {alias}, recorded is {f'version {recorded}' if recorded else 'none'}"
    if recorded is None and last_decision == 0:
        return Decision(key, None, f"{what}: nothing was trained here yet, and the first retraining records it")
    if busy:
        return Decision(key, None, f"{what}: {busy}, which may be what moved it")
    decision = decide_attempt(key, attempts)
    return Decision(key, decision.attempt, f"{what}: {decision.reason}")
