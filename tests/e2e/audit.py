"""What an operator sees of sessions and blocks."""
from contract import sessions


def sessions_of(client):
    return client.sessions.ListSessions(sessions.ListSessionsRequest()).sessions


def exact(client, held):
    audit = client.audit()
    assert audit.exact and audit.p0_counter_mismatch == 0, audit
    assert sum(a.held + a.shared for a in audit.arenas) == held, audit
