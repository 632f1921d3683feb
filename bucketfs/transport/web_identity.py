"""WebIdentity: a token in a file (of Kubernetes, of a CI job) is exchanged for keys by AWS's STS.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html: the one call
of STS that is not signed. The file is read each time: who wrote it writes it anew before it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode
from xml.etree.ElementTree import ParseError

import defusedxml
import trio
from defusedxml.ElementTree import fromstring

from bucketfs.errors import ConfigurationError, KeysUnavailable, Transient
from bucketfs.transport.credentials import Credentials
from bucketfs.transport.exchange import Response
from bucketfs.transport.instance_metadata import KeyService
from bucketfs.transport.key_texts import keys_of

_SESSION = "bucketfs"
_PASSING = ("IDPCommunicationError", "Throttling", "ThrottlingException", "RequestLimitExceeded")
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_NAME = "AWS's STS"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebIdentity:
    """Asks STS at `endpoint` for the keys of `role`; `session` is its name in Amazon's logs."""

    token_file: str
    role: str
    session: str
    endpoint: str

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> WebIdentity | None:
        """Return what the environment asks for, None where it asks for none."""
        token_file = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE")
        role = environment.get("AWS_ROLE_ARN")
        if not token_file or not role:
            return None
        session = environment.get("AWS_ROLE_SESSION_NAME") or _SESSION
        endpoint = _endpoint(environment, {})
        return cls(token_file=token_file, role=role, session=session, endpoint=endpoint)

    @classmethod
    def of_profile(
        cls, profile: Mapping[str, str], environment: Mapping[str, str]
    ) -> WebIdentity | None:
        """Return what the values of a profile ask for, None where they ask for none."""
        token_file, role = profile.get("web_identity_token_file"), profile.get("role_arn")
        if not token_file or not role:
            return None
        session = profile.get("role_session_name") or _SESSION
        endpoint = _endpoint(environment, profile)
        return cls(token_file=token_file, role=role, session=session, endpoint=endpoint)

    async def find(self) -> Credentials:
        """Return new keys. Raises: ConfigurationError, KeysUnavailable, Transient."""
        try:
            token = (await trio.Path(self.token_file).read_text("ascii")).strip()
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is no token"
            raise ConfigurationError(f"{self.token_file} cannot be read: {reason}") from None
        # In the body: addresses are logged.
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self.role,
            "RoleSessionName": self.session,
            "WebIdentityToken": token,
        }
        service = KeyService(_NAME)
        try:
            answer = await service.ask(
                f"{self.endpoint.rstrip('/')}/", _FORM, "POST", urlencode(form).encode()
            )
        finally:
            await service.aclose()
        values = _leaves(answer.body)
        if answer.status != 200:
            raise self._refused(answer, values.get("Code", ""))
        return keys_of(values, _NAME)

    def _refused(self, answer: Response, code: str) -> ConfigurationError | Transient:
        said = f"{_NAME} refused the token in {self.token_file} ({code or answer.status})"
        if answer.status >= 500 or answer.status == 429 or code in _PASSING:
            return KeysUnavailable(said, sent=False)
        return ConfigurationError(f"{said}; is {self.role} a role that trusts who made it?")


def _endpoint(environment: Mapping[str, str], profile: Mapping[str, str]) -> str:
    """Return where STS is: as it is said, else in the region that is said, else the global one."""
    for said in (environment.get("AWS_ENDPOINT_URL_STS"), environment.get("AWS_ENDPOINT_URL")):
        if said:
            return said
    regions = (environment.get("AWS_REGION"), environment.get("AWS_DEFAULT_REGION"))
    region = next((name for name in (*regions, profile.get("region")) if name), None)
    if region is None:
        return "https://sts.amazonaws.com"
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def _leaves(document: bytes) -> Mapping[str, str]:
    """Return the texts of an XML document by their elements' names; empty, where it is none."""
    try:
        root = fromstring(document, forbid_dtd=True)
    except (ParseError, defusedxml.DefusedXmlException, ValueError):
        return {}
    return {
        element.tag.rpartition("}")[2]: (element.text or "").strip()
        for element in root.iter()
        if not len(element)
    }
