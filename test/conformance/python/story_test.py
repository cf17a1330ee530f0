"""The main story of the IsOnline document, told by grpcio (the C core)."""

import unittest

from device import Device, Refused, online, someone

ONLINE, OFFLINE = 2, 1  # USER_FLAG_*
CURRENT, OPENED, UPDATED, CLOSED = 1, 2, 3, 4  # SESSION_EVENT_KIND_*
BUSY, AWAY = 3, 2  # IS_ONLINE_STATUS_*


class Story(unittest.TestCase):
    def enter(self, device):
        """Leaves the device at the end of the test."""
        self.addCleanup(device.__exit__, None, None, None)
        return device.__enter__()

    def watch(self, target):
        watcher = self.enter(online(someone("watcher")))
        watcher.on("SubscribeToUserIsOnline", user_id=target)
        return watcher

    def test_target_online_with_two_sessions(self):
        target = someone("target")
        first = self.enter(online(target, {"status": BUSY}, platform="ios"))
        second = self.enter(online(target, platform="web"))
        watcher = self.watch(target)
        snapshot = [watcher.stream.next("notification") for _ in range(2)]
        self.assertEqual(watcher.stream.next("snapshot_done").user_id, target)
        self.assertEqual({n.session.kind for n in snapshot}, {CURRENT})
        self.assertEqual({n.user_flag for n in snapshot}, {ONLINE})
        self.assertEqual(
            {n.session.session_id for n in snapshot}, {first.made.session_id, second.made.session_id}
        )

    def test_target_offline(self):
        target = someone("target")
        watcher = self.watch(target)
        n = watcher.stream.next("notification")
        self.assertEqual(n.user_flag, OFFLINE)
        self.assertFalse(n.HasField("session"))
        self.assertFalse(n.HasField("last_seen"))

    def test_open_update_close(self):
        target = someone("target")
        watcher = self.watch(target)
        watcher.stream.next("notification")
        watcher.stream.next("snapshot_done")

        device = self.enter(online(target))
        n = watcher.stream.next("notification")
        self.assertEqual((n.session.kind, n.user_flag), (OPENED, ONLINE))

        stored = device.on(
            "UpdateIsOnlineSession",
            update={"status": BUSY, "rich_text": {"literal": "на связи"}, "properties": {"map": {"text": "harbour"}}},
        )
        n = watcher.stream.next("notification")
        self.assertEqual((n.session.kind, n.session.status), (UPDATED, BUSY))
        self.assertEqual(n.session.rich_text, "на связи")
        self.assertEqual(n.session.properties["map"].text, "harbour")
        self.assertEqual(n.session.revision, stored.revision)

        device.on("PartialUpdateIsOnlineSession", update={"status": AWAY})
        n = watcher.stream.next("notification")
        self.assertEqual(n.session.status, AWAY)
        self.assertEqual(n.session.properties["map"].text, "harbour")

        device.on("CloseIsOnlineSession")
        n = watcher.stream.next("notification")
        self.assertEqual((n.session.kind, n.user_flag), (CLOSED, OFFLINE))
        self.assertTrue(n.HasField("last_seen"))
        device.stream.next("closing")
        self.assertIsNone(device.stream.end(), "a closed session's stream ends OK")

    def test_resume_within_the_grace(self):
        target = someone("target")
        device = self.enter(online(target))
        watcher = self.watch(target)
        watcher.stream.next("notification")
        watcher.stream.next("snapshot_done")
        last = device.stream.sequence
        device.stream.cancel()
        device.connect(resume_after=last)
        self.assertTrue(device.connected.resumed)
        device.on("UpdateIsOnlineSession", update={"status": BUSY})
        n = watcher.stream.next("notification")
        self.assertEqual(n.session.kind, UPDATED, "the first thing the watcher hears is the update")

    def test_asking_once(self):
        there, gone = someone("there"), someone("gone")
        self.enter(online(there))
        asker = self.enter(Device(someone("asker")))
        self.assertEqual(asker.call("GetUserIsOnline", user_id=there).user.user_flag, ONLINE)
        users = asker.call("BatchGetUserIsOnline", user_ids=[gone, there]).users
        self.assertEqual([u.user_id for u in users], [gone, there])
        self.assertEqual([u.user_flag for u in users], [OFFLINE, ONLINE])

    def test_heartbeat(self):
        device = self.enter(online(someone("heart")))
        self.assertTrue(device.on("HeartbeatIsOnlineSession").stream_attached)

    def test_refusals(self):
        alice = self.enter(online(someone("alice")))
        mallory = self.enter(Device(someone("mallory")).make())
        nobody = self.enter(Device(someone("nobody"), token=""))
        cases = [
            ("no access token", lambda: nobody.make(), "UNAUTHENTICATED", "JWT_INVALID"),
            ("another's session", lambda: mallory.call("HeartbeatIsOnlineSession", session_token=alice.token),
             "PERMISSION_DENIED", "SESSION_TOKEN_NOT_YOURS"),
            ("no session token", lambda: mallory.call("HeartbeatIsOnlineSession", session_token="x"),
             "UNAUTHENTICATED", "SESSION_TOKEN_INVALID"),
            ("not connected", lambda: mallory.on("HeartbeatIsOnlineSession"),
             "FAILED_PRECONDITION", "SESSION_NOT_CONNECTED"),
            ("empty user id", lambda: mallory.call("GetUserIsOnline", user_id=""), "INVALID_ARGUMENT", "FIELD_INVALID"),
        ]
        for name, attempt, code, reason in cases:
            with self.subTest(name):
                with self.assertRaises(Refused) as caught:
                    attempt()
                said = caught.exception
                self.assertEqual((said.code, said.reason, said.domain), (code, reason, "isonline"))


if __name__ == "__main__":
    unittest.main()
