"""Token, certificate and kubeconfig of service accounts, as files."""

import base64
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal.cluster.objects import Object
from rehearsal.cluster.rbac import ADMIN, Accounts


@dataclass
class Credentials:
    """Writes an account's folder at first need: `token`, `ca.crt`, `namespace`, as in a pod, and `kubeconfig`."""

    base: Path
    accounts: Accounts
    namespace: str
    certificate: Path
    port: int = 0
    _made: set[str] = field(default_factory=set)

    def folder(self, account: str | None) -> Path:
        """The folder of a service account of the namespace, or of the administrator."""
        folder = self.base / (account or ADMIN)
        if folder.name not in self._made:
            token = self.accounts.token(f"{self.namespace}:{account}" if account else ADMIN)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.certificate, folder / "ca.crt")
            (folder / "token").write_text(token)
            (folder / "namespace").write_text(self.namespace)
            (folder / "kubeconfig").write_text(json.dumps(self._kubeconfig(token)))
            self._made.add(folder.name)
        return folder

    def of_pod(self, pod: Object) -> Path | None:
        """The folder of a pod's account, None where it mounts no token."""
        if pod["spec"].get("automountServiceAccountToken", True) is False:
            return None
        return self.folder(pod["spec"].get("serviceAccountName") or "default")

    def _kubeconfig(self, token: str) -> Object:
        # The certificate's content, not its path: the file is read in containers too.
        authority = base64.b64encode(self.certificate.read_bytes()).decode()
        server = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority-data": authority}
        context = {"cluster": "stand-in", "user": "account", "namespace": self.namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "stand-in", "cluster": server}],
            "users": [{"name": "account", "user": {"token": token}}],
            "contexts": [{"name": "stand-in", "context": context}],
            "current-context": "stand-in",
        }
