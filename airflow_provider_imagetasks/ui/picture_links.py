"""The links by which the browser fetches pictures: the server signs which file is meant, the browser cannot choose."""

from __future__ import annotations

from typing import Any

from itsdangerous import BadSignature, URLSafeSerializer

_SALT = "airflow_provider_imagetasks.ui.picture"


class PictureLinks:
    """Signs and reads them; the same file gives the same link, so that the browser's cache knows it.

    :param secret: Airflow's ``[api] secret_key``, which all api-servers share.
    """

    def __init__(self, secret: str) -> None:
        self._serializer = URLSafeSerializer(secret, salt=_SALT)

    def token(self, dag_id: str, uri: str, sha256: str) -> str:
        """Return what stands for a file of a Dag in a link."""
        return str(self._serializer.dumps([dag_id, uri, sha256]))

    def read(self, token: str, dag_id: str) -> tuple[str, str] | None:
        """Return URI and hash of the file; None where the link is not ours, or another Dag's."""
        try:
            signed: Any = self._serializer.loads(token)
        except BadSignature:
            return None
        if not isinstance(signed, list) or len(signed) != 3 or signed[0] != dag_id:
            return None
        return str(signed[1]), str(signed[2])
