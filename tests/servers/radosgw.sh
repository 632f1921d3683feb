#!/usr/bin/env bash
# Run a Ceph of one machine (mon, mgr, osd in memory, radosgw) until stdin ends; prints "ready".
# usage: radosgw.sh FOLDER PORT MON_PORT ACCESS_KEY SECRET_KEY
# Needs Debian's ceph-mon ceph-osd ceph-mgr radosgw ceph-common. Nothing of it survives the script.
set -eu
folder=$1 port=$2 mon_port=$3 access_key=$4 secret_key=$5
mkdir -p "$folder"/{mon,mgr,osd,run,log}
fsid=$(cat /proc/sys/kernel/random/uuid)

stop() {
    for file in "$folder"/*.pid; do
        # Everything is in memory: there is nothing that a gentle end would save.
        if [ -s "$file" ]; then kill -9 "$(cat "$file")" 2>/dev/null || true; fi
    done
}
trap stop EXIT
trap 'exit 1' INT TERM HUP

cat > "$folder/ceph.conf" <<CONF
[global]
fsid = $fsid
mon host = v1:127.0.0.1:$mon_port
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
osd pool default pg num = 4
osd pool default pgp num = 4
mon max pg per osd = 1000
run dir = $folder/run
admin socket = $folder/run/\$name.asok
log file = $folder/log/\$name.log
mon data = $folder/mon
mgr data = $folder/mgr
osd data = $folder/osd
osd objectstore = memstore
memstore device bytes = 8589934592
osd memory target = 1073741824
ms bind ipv4 = true
ms bind msgr2 = false
debug ms = 0
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw enable usage log = false
rgw thread pool size = 32
rgw gc obj min wait = 5
CONF
conf=(-c "$folder/ceph.conf")
: > "$folder/keyring"
monmaptool --create --clobber --fsid "$fsid" --addv a "[v1:127.0.0.1:$mon_port]" "$folder/monmap" >&2
ceph-mon "${conf[@]}" -i a --mkfs --monmap "$folder/monmap" --keyring "$folder/keyring" >&2
ceph-mon "${conf[@]}" -i a --pid-file "$folder/mon.pid" >&2
timeout 30 ceph "${conf[@]}" -s >&2
ceph-mgr "${conf[@]}" -i x --pid-file "$folder/mgr.pid" >&2
osd_id=$(cat /proc/sys/kernel/random/uuid)
ceph "${conf[@]}" osd new "$osd_id" 0 >&2
ceph-osd "${conf[@]}" -i 0 --mkfs --osd-uuid "$osd_id" >&2
ceph-osd "${conf[@]}" -i 0 --pid-file "$folder/osd.pid" >&2
for _ in $(seq 60); do
    if ceph "${conf[@]}" osd stat 2>&1 | grep -q '1 up'; then break; fi
    sleep 0.5
done
radosgw "${conf[@]}" -n client.rgw --pid-file "$folder/rgw.pid" >&2
radosgw-admin "${conf[@]}" -n client.rgw user create --uid=bucketfs --display-name=bucketfs \
    --access-key="$access_key" --secret-key="$secret_key" >&2
echo ready
cat > /dev/null
