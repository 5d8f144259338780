"""A mail server that is away, slow, or forgetful."""

from tests.system.faults.fault_tests.base import BACKGROUND, FaultTest, Stage
from tests.system.faults.mailbox import Mailbox, Manner
from tests.system.faults.process import wait_for


def mail_arrives_despite_failures_of_the_server(stage: Stage) -> None:
    """Handlers retry by the policy; a message that arrives twice has the same Message-ID."""
    installation = stage.installation
    box = Mailbox(installation.loop)
    try:
        installation.deploy(email={"transport": "smtp", "smtp": {"host": "127.0.0.1", "port": box.port}})
        sent = []
        for manner in (Manner.SLOW, Manner.DROP, Manner.FORGET):
            box.manner = manner
            sent += installation.client.send("registerUser", 4)
            if manner is not Manner.SLOW:
                before = box.broken_off
                wait_for(lambda before=before: box.broken_off >= before + 4, 10, "it has broken off")  # type: ignore[misc]
        box.close()
        sent += installation.client.send("registerUser", 4)
        stage.pause(0.5, 0.6)
        box.manner = Manner.TAKE
        box.open()
        installation.wait_for_jobs()
        assert set(box.messages) == {request.job for request in sent}
        assert max(box.messages.values()) > 1, "no message came twice"
        installation.mailed += box.messages
    finally:
        box.close()
        installation.deploy(email={})


FAULT_TESTS = (FaultTest(mail_arrives_despite_failures_of_the_server, (BACKGROUND,), slow=True),)
