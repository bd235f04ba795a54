"""One member of a swarm: TORRENT DIRECTORY ADDRESS MARK. Makes the file MARK when it has
everything, and gives on until it is killed."""

import sys

import libtorrent

torrent, directory, address, mark = sys.argv[1:]
session = libtorrent.session({
    "listen_interfaces": f"{address}:6881",
    "enable_lsd": True,
    "enable_dht": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "alert_mask": libtorrent.alert.category_t.status_notification
    | libtorrent.alert.category_t.error_notification,
})
params = libtorrent.add_torrent_params()
params.ti = libtorrent.torrent_info(torrent)
params.save_path = directory
session.add_torrent(params)
while True:
    session.wait_for_alert(60_000)
    for alert in session.pop_alerts():
        print(alert.what(), alert.message(), flush=True)
        if isinstance(alert, libtorrent.torrent_error_alert):
            sys.exit(1)
        if isinstance(alert, libtorrent.torrent_finished_alert):
            open(mark, "w").close()
