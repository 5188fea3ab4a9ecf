#!/usr/bin/env python3
"""Process each message that devices send to an emulator, also those sent while this program was not running.

usage: messages.py [CURSOR_FILE]

The file keeps the cursor of the last processed message. It is written after the message was processed, so
a program that is killed gets its last message again and misses none. It needs Python 3.8 and no packages.
"""
import http.client
import json
import os
import pathlib
import ssl
import sys
import urllib.parse


def process(message):
    """What a back end does with a message."""
    print(json.dumps([message["device"], message["body"]]), flush=True)


def save(file, cursor):
    """Replace the file as a whole, so that a kill leaves the old cursor or the new one."""
    draft = file.with_name(file.name + ".new")
    draft.write_text(cursor)
    os.replace(draft, file)


def events(control, cursor):
    """Yield the cursor, the kind and the data of each event of the stream."""
    url = urllib.parse.urlsplit(control["url"])
    trust = ssl.create_default_context(cadata=control["ca"])
    connection = http.client.HTTPSConnection(url.hostname, url.port, context=trust)
    headers = {"Authorization": "Bearer " + control["token"]}
    if cursor:
        headers["Last-Event-ID"] = cursor
    connection.request("GET", "/lizard/v1/messages", headers=headers)
    answer = connection.getresponse()
    if answer.status != 200:
        sys.exit(json.load(answer)["error"]["message"])
    event = {}
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            event[name] = value
        else:  # an empty line ends an event
            yield event.get("id"), event.get("event", "message"), event.get("data")
            event = {}


def main():
    file = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "messages.cursor")
    cursor = file.read_text() if file.exists() else None
    default = pathlib.Path.home() / ".cache/failover/emulator.json"  # on macOS in ~/Library/Caches
    control = json.loads(pathlib.Path(os.environ.get("FAILOVER_CONTROL_FILE") or default).read_text())
    for cursor, kind, data in events(control, cursor):
        if kind == "missed":
            print("messages that are no longer kept:", json.loads(data)["missed"], file=sys.stderr)
        elif data:
            process(json.loads(data))
        save(file, cursor)
    sys.exit("the emulator has ended, or cannot be reached")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (http.client.HTTPException, OSError) as error:
        sys.exit(f"the emulator has ended, or cannot be reached: {error}")
