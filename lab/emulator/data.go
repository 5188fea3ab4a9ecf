package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// saveDelay is the longest time from a change until the file is written.
const saveDelay = 100 * time.Millisecond

// dataVersion is the version of the file's format. The emulator neither reads nor replaces a file of
// another version.
const dataVersion = 1

// savedCloud is the content of the data file: devices, their twins and their queued messages,
// enrollments and registrations. It contains no faults, no ledger and no sessions.
type savedCloud struct {
	Version int           `json:"version"`
	Serial  int           `json:"serial"`
	Devices []savedDevice `json:"devices"`
	savedProvisioning
}

type savedDevice struct {
	ID    string `json:"id"`
	Key   []byte `json:"key"`
	Model string `json:"model,omitempty"`
	Hub   string `json:"hub,omitempty"`
	// Home is the hub that the device left for a manual failover. Returns is the time at which the
	// cloud moves the device back to Home. Zero values mean that there is no manual failover.
	Home      string         `json:"home,omitempty"`
	Returns   time.Time      `json:"returns,omitzero"`
	Substatus string         `json:"substatus,omitempty"`
	Created   time.Time      `json:"created"`
	Updated   time.Time      `json:"updated,omitzero"`
	Met       bool           `json:"met"` // the device has had a session, so messages may be queued for it
	Desired   savedSection   `json:"desired"`
	Reported  savedSection   `json:"reported"`
	Queue     []savedMessage `json:"queue,omitempty"`
	savedRecord
}

type savedSection struct {
	Properties json.RawMessage `json:"properties"`
	Version    int             `json:"version"`
	Metadata   Metadata        `json:"metadata"`
}

type savedMessage struct {
	ID         string            `json:"id"`
	Properties map[string]string `json:"properties,omitempty"`
	Body       []byte            `json:"body,omitempty"`
	Expires    time.Time         `json:"expires"`
}

// data writes the state of a cloud to a file after each change.
type data struct {
	file        string
	changed     chan struct{} // receives a value after a possible change of the cloud
	written     []byte        // the last written content of the file
	writeFailed bool          // the last write failed, and a note was emitted

	last    savedCloud // the state at Close; guarded by the cloud's lock, as is lastErr
	lastErr error
}

// loadData reads the data file, if there is one. It is called with the lock held.
func (c *Cloud) loadData() error {
	if c.config.DataFile == "" {
		return nil
	}
	text, err := os.ReadFile(c.config.DataFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("data: %w", err)
	}
	if err := c.load(text); err != nil {
		return fmt.Errorf("data: %s: %w; move the file away to start without it", c.config.DataFile, err)
	}
	return nil
}

// startSavingData writes the data file after each change, until the cloud is closed.
func (c *Cloud) startSavingData() {
	if c.config.DataFile == "" {
		return
	}
	c.mu.Lock()
	c.data = &data{file: c.config.DataFile, changed: make(chan struct{}, 1)}
	d := c.data
	c.unlock()
	c.running.Go(func() { d.saveLoop(c) })
}

// saveLoop writes the file after changes, and once more when the cloud is closed.
func (d *data) saveLoop(c *Cloud) {
	for {
		select {
		case <-d.changed:
			c.mu.Lock()
			saved, err := c.snapshot()
			c.mu.Unlock()
			d.save(c, saved, err)
			timer := time.NewTimer(saveDelay) // changes until the timer fires share one write
			select {
			case <-timer.C:
			case <-c.closed:
				timer.Stop()
			}
		case <-c.closed:
			d.save(c, d.last, d.lastErr)
			return
		}
	}
}

func (d *data) save(c *Cloud, saved savedCloud, err error) {
	var text []byte
	if err == nil {
		text, err = json.Marshal(saved)
	}
	if err == nil && bytes.Equal(text, d.written) {
		return
	}
	if err == nil {
		err = writePrivate(d.file, text)
	}
	if err == nil {
		d.written = text
	}
	if err != nil && !d.writeFailed {
		c.mu.Lock()
		c.emit(KindNote, "", "", "the data cannot be written and will be missing after a restart: %v", err)
		c.unlock()
	}
	d.writeFailed = err != nil
}

// writePrivate replaces a file. Only the owner may read it.
func writePrivate(file string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // CreateTemp sets mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails without harm if the file was renamed
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// snapshot returns the state to save. It is called with the lock held.
func (c *Cloud) snapshot() (savedCloud, error) {
	all := savedCloud{Version: dataVersion, Serial: c.serial, savedProvisioning: c.provisioning.snapshot()}
	for _, id := range slices.Sorted(maps.Keys(c.devices)) {
		d := c.devices[id]
		if d.faults[Deleted] != nil {
			continue
		}
		s := savedDevice{
			ID: id, Key: d.key, Model: d.model, Substatus: d.substatus,
			Created: d.created, Updated: d.updated, Met: d.hadSession, savedRecord: d.savedRecord(),
		}
		if d.hub != nil {
			s.Hub = d.hub.name
		}
		if d.failover != nil {
			s.Home, s.Returns = d.failover.original.name, d.failover.until
		}
		var err, err2 error
		s.Desired, err = d.twin.desired.snapshot()
		s.Reported, err2 = d.twin.reported.snapshot()
		if err := errors.Join(err, err2); err != nil {
			return all, err
		}
		for _, m := range d.queue.pending {
			s.Queue = append(s.Queue, savedMessage{m.ID, m.Properties, m.Body, m.expires})
		}
		all.Devices = append(all.Devices, s)
	}
	return all, nil
}

func (s section) snapshot() (savedSection, error) {
	text, err := json.Marshal(s.properties)
	return savedSection{text, s.version, s.metadata}, err
}

// load restores what snapshot returned. After an error nothing is restored. It is called with the
// lock held.
func (c *Cloud) load(text []byte) error {
	var all savedCloud
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // numbers of tags and initial twins keep their text
	if err := decoder.Decode(&all); err != nil {
		return fmt.Errorf("the file is damaged: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("the file is damaged: it continues after its object")
	}
	if all.Version != dataVersion {
		return fmt.Errorf("the file has format %d, and this version reads format %d", all.Version, dataVersion)
	}
	if err := c.provisioning.restore(all.savedProvisioning); err != nil {
		return err
	}
	devices := map[string]*device{}
	for _, s := range all.Devices {
		d, err := c.restored(s)
		if err != nil {
			return fmt.Errorf("device %.128q: %w", s.ID, err)
		}
		devices[d.id] = d
	}
	for _, d := range devices {
		c.devices[d.id] = d
		if f := d.failover; f != nil {
			f.timer = time.AfterFunc(time.Until(f.until), func() { c.expireFailover(d, f) })
		}
	}
	c.serial = max(c.serial, all.Serial)
	return nil
}

func (c *Cloud) restored(s savedDevice) (*device, error) {
	if s.ID == "" {
		return nil, errors.New("the device has no ID")
	}
	d := c.newDevice(s.ID)
	d.key, d.model, d.substatus = s.Key, s.Model, s.Substatus
	d.restoreRecord(s)
	d.created, d.updated, d.hadSession = s.Created, s.Updated, s.Met
	if s.Hub != "" {
		h, err := c.hub(s.Hub)
		if err != nil {
			return nil, err
		}
		d.hub = h
	}
	if s.Home != "" {
		home, err := c.hub(s.Home)
		if err != nil {
			return nil, err
		}
		d.failover = &failover{original: home, until: s.Returns}
	}
	var err, err2 error
	d.twin.desired, err = s.Desired.restored()
	d.twin.reported, err2 = s.Reported.restored()
	for _, m := range s.Queue {
		d.queue.pending = append(d.queue.pending, &queued{
			Message: Message{ID: m.ID, Properties: m.Properties, Body: m.Body}, expires: m.Expires,
		})
	}
	return d, errors.Join(err, err2)
}

func (s savedSection) restored() (section, error) {
	properties, err := decodeObject(s.Properties)
	if err != nil {
		return section{}, fmt.Errorf("twin: %w", err)
	}
	return section{properties, s.Version, s.Metadata}, nil
}
