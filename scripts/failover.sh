#!/bin/sh
# Moves a device of an IoT Central application to another hub. The application moves it back after some minutes.
# The program is failover from the PATH, or the one that FAILOVER names. docs/az.md describes the other settings.
set -eu
if [ $# -ne 4 ] || [ -z "$1" ] || [ -z "$2" ] || [ -z "$3" ] || [ -z "$4" ]; then
	echo "usage: $0 APPLICATION-ID DEVICE-ID APPLICATION-HOST-NAME DNS-SUFFIX" >&2
	exit 2
fi
exec "${FAILOVER:-failover}" central device manual-failover -n "$1" -d "$2" --central-api-uri "$3" --central-dns-suffix "$4"
