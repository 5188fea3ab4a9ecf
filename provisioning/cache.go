package provisioning

import (
	"fmt"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
)

// A Cache is the file that stores an assignment, with its payload. The payload may be secret, so
// only the owner may read the file. An assignment belongs to one DPS host, ID scope and
// registration ID; for any other combination it is foreign. A checksum detects damage and changes
// by hand, so that neither can lead the device to another hub. A Cache with the zero File stores
// nothing.
type Cache struct {
	File statefile.File
	Identity
}

type cached struct {
	Host           string    `json:"dpsHost"`
	IDScope        string    `json:"idScope"`
	RegistrationID string    `json:"registrationId"`
	Hub            string    `json:"assignedHub"`
	DeviceID       string    `json:"deviceId"`
	Substatus      string    `json:"substatus,omitempty"`
	Payload        string    `json:"payload,omitempty"` // JSON in a string, which keeps its bytes
	Saved          time.Time `json:"saved"`
}

// Load reads the assignment. ok reports whether the file holds one of this identity. An error is
// only a warning, after which the device asks DPS: the file is damaged or foreign and has been set
// aside under another name, or it cannot be read.
func (c Cache) Load() (a Assignment, ok bool, err error) {
	var v cached
	ok, err = c.File.Load(&v)
	if ok {
		err = c.check(v)
	}
	if err != nil {
		return Assignment{}, false, fmt.Errorf("provisioning: the stored assignment: %w", err)
	}
	return Assignment{Hub: v.Hub, DeviceID: v.DeviceID, Substatus: v.Substatus, Payload: v.Payload}, ok, nil
}

// OwnerOf returns the registration ID of the assignment that is stored at a path, or "" if none can be
// read.
func OwnerOf(path string) string {
	var v cached
	if !statefile.At(path).Peek(&v) {
		return ""
	}
	return v.RegistrationID
}

// check sets the file aside if its assignment is damaged or foreign.
func (c Cache) check(v cached) error {
	_, _, err := payloads.HostPort(v.Hub, "8883")
	if err == nil {
		err = payloads.CheckDeviceID(v.DeviceID)
	}
	switch {
	case err != nil:
		return c.File.SetAside("damaged", err)
	case v.Host != c.ProvisioningHost || v.IDScope != c.IDScope || v.RegistrationID != c.RegistrationID:
		return c.File.SetAside("foreign", fmt.Errorf("it belongs to registration %.128q in scope %.64q at %.128q",
			v.RegistrationID, v.IDScope, v.Host))
	}
	return nil
}

// Content returns the content of the file for an assignment that has just been received.
func (c Cache) Content(a Assignment) any {
	return cached{
		Host: c.ProvisioningHost, IDScope: c.IDScope, RegistrationID: c.RegistrationID,
		Hub: a.Hub, DeviceID: a.DeviceID, Substatus: a.Substatus, Payload: a.Payload, Saved: time.Now().UTC(),
	}
}
