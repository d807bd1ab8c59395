"""Service accounts' tokens, and whether Roles and bindings give an account a right."""

import secrets

from rehearsal.cluster.objects import ApiError, Object
from rehearsal.cluster.store import Store

ADMIN = "admin"
"""The account of who started the cluster: everything is allowed."""


class Accounts:
    """Tokens by account, made on demand."""

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}

    def token(self, account: str) -> str:
        """The token of `namespace:name`, or of ADMIN."""
        return self._tokens.setdefault(account, secrets.token_urlsafe(24))

    def of_header(self, header: str) -> str:
        """Who shows this `Authorization` header.

        Raises:
            ApiError: 401, where the token is nobody's.
        """
        shown = header.partition(" ")[2]  # the scheme is written Bearer by some, bearer by others
        for account, token in self._tokens.items():
            if secrets.compare_digest(token, shown):
                return account
        raise ApiError(401, "Unauthorized", "Unauthorized")


def authorize(store: Store, account: str, verb: str, group: str, resource: str, namespace: str, name: str) -> None:
    """Refuse what no bound Role allows; `resource` is the plural, with its subresource as `pods/log`.

    Raises:
        ApiError: 403, worded as the API server does.
    """
    if account == ADMIN:
        return
    for rules in _rules(store, account, namespace):
        if any(_allows(rule, verb, group, resource, name) for rule in rules):
            return
    user = f"system:serviceaccount:{account}"
    plural = f"{resource}.{group}" if group else resource
    scope = f'in API group "{group}" in the namespace "{namespace}"'
    message = f'{plural} "{name}" is forbidden: ' if name else f"{plural} is forbidden: "
    raise ApiError(403, "Forbidden", f'{message}User "{user}" cannot {verb} resource "{resource}" {scope}')


def _rules(store: Store, account: str, namespace: str) -> list[list[Object]]:
    bindings = [
        binding
        for binding in [*store.select("RoleBinding", namespace), *store.every("ClusterRoleBinding")]
        if any(_is(subject, account) for subject in binding.get("subjects") or [])
    ]
    found = []
    for binding in bindings:
        reference = binding["roleRef"]
        within = namespace if reference["kind"] == "Role" else ""
        role = store.find(reference["kind"], within, reference["name"])
        found.append((role or {}).get("rules") or [])
    return found


def _is(subject: Object, account: str) -> bool:
    return subject["kind"] == "ServiceAccount" and f"{subject.get('namespace')}:{subject['name']}" == account


def _allows(rule: Object, verb: str, group: str, resource: str, name: str) -> bool:
    def among(wanted: str, allowed: list[str]) -> bool:
        return "*" in allowed or wanted in allowed

    names = rule.get("resourceNames") or []
    return (
        among(verb, rule.get("verbs") or [])
        and among(group, rule.get("apiGroups") or [])
        and among(resource, rule.get("resources") or [])
        and (not names or name in names)
    )
