#!/bin/busybox sh
# The first process of Tiny Linux: picture, disk, config drive, agent, power button, shell.
export PATH=/bin:/sbin
mount -t devtmpfs devices /dev
mount -t proc processes /proc
mount -t sysfs system /sys
mkdir -p /dev/pts && mount -t devpts terminals /dev/pts
hostname tiny-linux

picture() { [ -e /dev/fb0 ] && zcat /picture.gz > /dev/fb0; }
picture  # early: the person at the display sees a desktop while the rest starts

load() { while read -r module; do insmod "/modules/$module.ko"; done < "/modules/$1"; }

config_drive() {
    load drive-order
    mkdir -p /run/hotdesk
    [ -e /dev/sr0 ] && mount -t iso9660 -o ro /dev/sr0 /run/hotdesk
}
config_drive &  # the drive takes its time to answer, and the rest need not wait for it
load order
mount -t vfat -o codepage=437,iocharset=ascii /dev/vda2 /data

# There is no udev to give the agent's port its name.
mkdir -p /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do
    [ -e "$port/name" ] && ln -s "/dev/${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
done
acpid -l /run/acpid.log

wait  # whoever finds the agent ready finds what the config drive tells
agent=/dev/virtio-ports/org.qemu.guest_agent.0
[ -e $agent ] && qemu-ga --daemonize --method virtio-serial --path $agent --statedir /run --logfile /run/agent.log

picture  # again: loading modules may have written on the display
told=/run/hotdesk/central-data
[ -e $told ] && echo "HOTDESK-CENTRAL-DATA $(cat $told)" > /dev/ttyS0
echo "HOTDESK-READY $(cut -d' ' -f1 /proc/uptime)" > /dev/ttyS0

while true; do
    setsid cttyhack sh -i < /dev/ttyS0 > /dev/ttyS0 2>&1
    sleep 1
done
