"""Mail, by this machine's sendmail or an SMTP server: `checks.mail_to`, `checks.mail_from`, `checks.mail_server`."""

import contextlib
import shutil
import smtplib
import ssl
import subprocess
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from pipelines.alarms import Message
from pipelines.errors import ApiframeWarehouseError
from pipelines.exact import one_line
from pipelines.settings import Settings

SECONDS = 30
SENDMAIL = "/usr/sbin/sendmail"  # where it lies when it is not on the path, as for cron


def is_set(settings: Settings) -> bool:
    """Tell whether there is somebody to write to."""
    return settings.mail_to is not None


def send(settings: Settings, message: Message) -> None:
    """Send it as plain text, with what is attached.

    A password goes over an encrypted connection, or not at all; it is never shown.
    """
    mail = EmailMessage()  # its policy refuses what would break a header
    mail["To"], mail["From"], mail["Subject"] = settings.mail_to, settings.mail_from, one_line(message.subject, 200)
    mail.set_content(message.text)
    try:
        if message.attachment:
            page = message.attachment.read_bytes()
            mail.add_attachment(
                page, "text", "html", filename=one_line(message.attachment.name, 100), params={"charset": "utf-8"}
            )
        if settings.mail_server == "sendmail":
            _by_sendmail(mail)
        else:
            _by_smtp(mail, str(settings.mail_server))
    except (OSError, smtplib.SMTPException, subprocess.SubprocessError) as problem:
        raise ApiframeWarehouseError(
            f"the mail was not taken ({type(problem).__name__}): see checks.mail_server and checks.mail_to"
        ) from None


def _by_sendmail(mail: EmailMessage) -> None:
    command = [shutil.which("sendmail") or SENDMAIL, "-t", "-oi"]
    subprocess.run(command, input=mail.as_bytes(), check=True, capture_output=True, timeout=SECONDS)  # noqa: S603


def _by_smtp(mail: EmailMessage, address: str) -> None:
    parts = urlsplit(address)
    context = ssl.create_default_context()
    host, is_encrypted = str(parts.hostname), parts.scheme == "smtps"
    with contextlib.ExitStack() as stack:
        server: smtplib.SMTP
        if is_encrypted:
            server = smtplib.SMTP_SSL(host, parts.port or 465, timeout=SECONDS, context=context)
        else:
            server = smtplib.SMTP(host, parts.port or 25, timeout=SECONDS)
        stack.enter_context(server)
        server.ehlo()
        if not is_encrypted and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
            is_encrypted = True
        if parts.username:
            if not is_encrypted:
                raise smtplib.SMTPNotSupportedError("no encryption")
            server.login(unquote(parts.username), unquote(parts.password or ""))
        if server.send_message(mail):
            raise smtplib.SMTPException("one of several was refused")
