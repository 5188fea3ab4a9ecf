//go:build !nolab

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A ledgerFile receives each message that the emulator's hubs store, as one JSON line, for
// `failover ledger`.
type ledgerFile struct {
	file    *os.File // the open file; nil without --ledger-file
	cloud   atomic.Pointer[emulator.Cloud]
	written int64 // the sequence number of the last message written
	torn    bool  // the file ends in the middle of a line
}

// A ledgerLine is one message in the file.
type ledgerLine struct {
	Device     string            `json:"device"`
	Hub        string            `json:"hub"`
	MessageID  string            `json:"messageId"`
	Received   time.Time         `json:"received"`
	Properties map[string]string `json:"properties"`
	Body       []byte            `json:"body"` // JSON contains the body in base64, because a body may be any bytes
}

// open opens the file for the messages of a cloud. An empty name means that nothing is written.
func (l *ledgerFile) open(name string, cloud *emulator.Cloud) error {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	l.file, l.torn = f, endsMidLine(f)
	l.cloud.Store(cloud) // store cloud last, because write checks it before the other fields
	return nil
}

// endsMidLine reports whether the last line of a file is incomplete, as after a kill of the process.
func endsMidLine(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	last := []byte{0}
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

// follow writes the messages that were stored since the last call. The emulator calls it for
// one event at a time.
func (l *ledgerFile) follow(e emulator.Event) error {
	if e.Kind != emulator.KindTelemetry {
		return nil
	}
	return l.write()
}

func (l *ledgerFile) write() error {
	cloud := l.cloud.Load()
	if cloud == nil || l.file == nil {
		return nil
	}
	for {
		deliveries, missed := cloud.LedgerAfter(l.written, readAtOnce)
		if missed > 0 {
			l.written += missed
			return fmt.Errorf("%d messages left the emulator's memory before they could be written: "+
				"check the disk, or allow more --message-memory", missed)
		}
		if len(deliveries) == 0 {
			return nil
		}
		for _, d := range deliveries {
			line := ledgerLine{d.Device, d.Hub, d.MessageID, d.Received.UTC(), d.Properties, d.Body}
			if err := l.append(line); err != nil {
				return err
			}
			l.written = d.Sequence
		}
	}
}

// readAtOnce is the number of messages that are taken from the emulator's memory at once.
const readAtOnce = 100

// append writes a line. If the disk becomes full in the middle of it, append removes the incomplete
// line again.
func (l *ledgerFile) append(line ledgerLine) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if l.torn {
		text = append([]byte{'\n'}, text...)
	}
	n, err := l.file.Write(text)
	if err == nil {
		l.torn = false
		return nil
	}
	if n == 0 {
		return err
	}
	l.torn = true
	if info, failure := l.file.Stat(); failure == nil && l.file.Truncate(info.Size()-int64(n)) == nil {
		l.torn = endsMidLine(l.file)
	}
	return err
}

// close writes the remaining messages. The cloud must be closed.
func (l *ledgerFile) close() {
	if l.file != nil {
		_ = l.write() // ignore the error, because follow has reported errors
		l.file.Close()
	}
}
