package provisioning

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"giantlizard.example/failover/payloads"
)

// cacheLimit is far more than an assignment takes.
const cacheLimit = 64 << 10

// A Cache is the file that remembers which hub DPS has assigned. It holds no secret, and still only its owner may read
// it. The answer belongs to one DPS host, ID scope and registration ID; under any other it is foreign. A checksum finds what
// has changed in it since, so that no damage and no hand turns into another hub. A Cache without a Path remembers nothing.
type Cache struct {
	Path                          string
	Host, IDScope, RegistrationID string
}

type cached struct {
	Host           string    `json:"dpsHost"`
	IDScope        string    `json:"idScope"`
	RegistrationID string    `json:"registrationId"`
	Hub            string    `json:"assignedHub"`
	DeviceID       string    `json:"deviceId"`
	Substatus      string    `json:"substatus,omitempty"`
	Saved          time.Time `json:"saved"`
	Checksum       string    `json:"checksum"`
}

// sum is over the values, not over the way they are written.
func (v cached) sum() string {
	v.Checksum = ""
	text, _ := json.Marshal(v) // strings and a time always marshal
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE(text))
}

// Load reads the assignment. ok tells whether there is one that fits. An error is a warning: the file is damaged or
// foreign and has been set aside under another name, or it cannot be read; the device asks DPS instead.
func (c Cache) Load() (a Assignment, ok bool, err error) {
	text, err := c.read()
	if c.Path == "" || errors.Is(err, fs.ErrNotExist) {
		return Assignment{}, false, nil
	}
	if err != nil {
		return Assignment{}, false, fmt.Errorf("provisioning: read the stored assignment: %w", err)
	}
	var v cached
	if err := decode(text, &v); err != nil {
		return Assignment{}, false, c.setAside("damaged", err)
	}
	if v.Host != c.Host || v.IDScope != c.IDScope || v.RegistrationID != c.RegistrationID {
		err := fmt.Errorf("it belongs to registration %.128q in scope %.64q at %.128q", v.RegistrationID, v.IDScope, v.Host)
		return Assignment{}, false, c.setAside("foreign", err)
	}
	return Assignment{Hub: v.Hub, DeviceID: v.DeviceID, Substatus: v.Substatus}, true, nil
}

func (c Cache) read() ([]byte, error) {
	f, err := os.Open(c.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, cacheLimit))
}

func decode(text []byte, v *cached) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is something behind its end")
	}
	if v.Checksum != v.sum() {
		return errors.New("its checksum does not match")
	}
	if _, _, err := payloads.HostPort(v.Hub, "8883"); err != nil {
		return err
	}
	return payloads.CheckDeviceID(v.DeviceID)
}

// setAside keeps the file for whoever wants to know what happened to it, and gets it out of the way.
func (c Cache) setAside(what string, why error) error {
	aside := c.Path + "." + what
	if err := os.Rename(c.Path, aside); err != nil {
		return fmt.Errorf("provisioning: the stored assignment is %s (%w) and could not be set aside: %w", what, why, err)
	}
	return fmt.Errorf("provisioning: the stored assignment is %s (%w); it was set aside as %s", what, why, aside)
}

// Save writes the assignment so that a crash leaves either the old file or the new one. An error is a warning: the
// device will ask DPS again after its next start.
func (c Cache) Save(a Assignment) error {
	if c.Path == "" {
		return nil
	}
	v := cached{
		Host: c.Host, IDScope: c.IDScope, RegistrationID: c.RegistrationID,
		Hub: a.Hub, DeviceID: a.DeviceID, Substatus: a.Substatus, Saved: time.Now().UTC(),
	}
	v.Checksum = v.sum()
	text, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = replaceFile(c.Path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("provisioning: store the assignment: %w; make the state directory writable, or the next start asks DPS again", err)
	}
	return nil
}

// replaceFile goes through a temporary file in the same directory, which os.CreateTemp makes with mode 0600.
func replaceFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the rename last. Windows cannot, and does so by itself.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
