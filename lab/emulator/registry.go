package emulator

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// The reasons why an operation of the service API is refused. An operation on a device that is not
// at the hub gets ErrUnknownDevice.
var (
	ErrDeviceExists = errors.New("emulator: the device exists already")
	ErrETag         = errors.New("emulator: the ETag is not that of the stored version")
	ErrInvalid      = errors.New("emulator: invalid")
	ErrNotEmulated  = errors.New("emulator: the emulator does not do this")
)

// The lengths of a symmetric key: azure-docs iot-hub/iot-hub-devguide-identity-registry.md.
const (
	shortestKey = 16 // bytes
	longestKey  = 64 // bytes
	newKeySize  = 32 // bytes of the keys that the services make
)

const maximumReason = 128 // characters of a status reason, same document

// An Identity is a device in the identity registry of its hub.
type Identity struct {
	DeviceID, Generation, ETag string
	PrimaryKey, SecondaryKey   string // base64; both are valid
	Enabled                    bool
	StatusReason               string
	StatusUpdated              time.Time // zero means never
	Connected                  bool
	ConnectionUpdated          time.Time // when the device has connected or disconnected last; zero means never
	Pending                    int       // number of cloud-to-device messages that the device has not completed
}

// A record is what the identity registry keeps of a device beside its key.
type record struct {
	secondary     []byte
	etag          int
	disabled      bool // by the registry; the fault Disabled is another thing
	reason        string
	statusUpdated time.Time
}

// An IdentityChange is what a back end says of a device. Empty keys mean new keys for a new device,
// and the present keys otherwise.
type IdentityChange struct {
	PrimaryKey, SecondaryKey string
	Disabled                 bool
	StatusReason             string
}

// atHub finds a device at a hub. The unexported functions of this file are called with c.mu held.
func (c *Cloud) atHub(hubName, id string) (*device, error) {
	d, err := c.device(id)
	if err == nil && (d.hub == nil || d.hub.name != hubName) {
		err = fmt.Errorf("%w: %.128q is not at hub %s", ErrUnknownDevice, id, hubName)
	}
	return d, err
}

// Identity returns a device of a hub.
func (c *Cloud) Identity(hubName, id string) (Identity, error) {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.atHub(hubName, id)
	if err != nil {
		return Identity{}, err
	}
	return d.identity(), nil
}

// Identities returns the devices of a hub, sorted by ID.
func (c *Cloud) Identities(hubName string) []Identity {
	c.mu.Lock()
	defer c.unlock()
	var all []Identity
	for _, id := range slices.Sorted(maps.Keys(c.devices)) {
		if d, err := c.atHub(hubName, id); err == nil {
			all = append(all, d.identity())
		}
	}
	return all
}

func (d *device) identity() Identity {
	d.expire()
	return Identity{
		DeviceID: d.id, Generation: strconv.FormatInt(d.created.UnixNano()/100, 10), ETag: etag(d.record.etag),
		PrimaryKey:   base64.StdEncoding.EncodeToString(d.key),
		SecondaryKey: base64.StdEncoding.EncodeToString(d.record.secondary),
		Enabled:      !d.record.disabled && d.faults[Disabled] == nil, StatusReason: d.record.reason,
		StatusUpdated: d.record.statusUpdated, Connected: d.session() != nil, ConnectionUpdated: d.connectionUpdated,
		Pending: len(d.queue.pending),
	}
}

// CreateIdentity creates a device at a hub. The emulator keeps each device at one hub, so that a
// device of another hub cannot be created here.
func (c *Cloud) CreateIdentity(hubName, id string, change IdentityChange) (Identity, error) {
	if !deviceIDs.MatchString(id) {
		return Identity{}, fmt.Errorf("%w: %.200q is not a valid device ID", ErrInvalid, id)
	}
	c.mu.Lock()
	defer c.unlock()
	h, err := c.hub(hubName)
	if err != nil {
		return Identity{}, err
	}
	switch old := c.devices[id]; {
	case old == nil:
	case old.faults[Deleted] != nil:
		return Identity{}, fmt.Errorf("%w: %q has the fault %s: clear it first", ErrNotEmulated, id, Deleted)
	case old.hub == h:
		return Identity{}, fmt.Errorf("%w: a device with ID '%s' is already registered", ErrDeviceExists, id)
	case old.hub != nil:
		return Identity{}, fmt.Errorf("%w: each device is at one hub, and %q is at hub %s: delete it there first",
			ErrNotEmulated, id, old.hub.name)
	}
	if change.PrimaryKey == "" && change.SecondaryKey == "" {
		change.PrimaryKey, change.SecondaryKey = newKey(), newKey()
	}
	d := cmp.Or(c.devices[id], c.newDevice(id))
	if err := d.change(change); err != nil {
		return Identity{}, err
	}
	c.devices[id] = d
	c.move(d, h)
	return d.identity(), nil
}

// UpdateIdentity changes a device. match is the ETag of the version to change, or "*" for any. If
// the change disables the device, its connection closes.
func (c *Cloud) UpdateIdentity(hubName, id, match string, change IdentityChange) (Identity, error) {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.matching(hubName, id, match)
	if err == nil {
		err = d.change(change)
	}
	if err != nil {
		return Identity{}, err
	}
	c.emit(KindAssigned, hubName, id, "changed in the identity registry of hub %s, enabled: %t", hubName,
		!change.Disabled)
	if change.Disabled {
		d.disconnect("the device was disabled")
	}
	return d.identity(), nil
}

func (c *Cloud) matching(hubName, id, match string) (*device, error) {
	d, err := c.atHub(hubName, id)
	if err == nil && match != "*" && match != etag(d.record.etag) {
		err = ErrETag
	}
	return d, err
}

// change applies a change after checking it. After an error nothing is changed.
func (d *device) change(change IdentityChange) error {
	if len([]rune(change.StatusReason)) > maximumReason {
		return fmt.Errorf("%w: the status reason has more than %d characters", ErrInvalid, maximumReason)
	}
	primary, secondary, err := decodeKeys(change.PrimaryKey, change.SecondaryKey)
	if err != nil {
		return err
	}
	if primary != nil {
		d.key, d.record.secondary = primary, secondary
	}
	if d.record.disabled != change.Disabled {
		d.record.statusUpdated = time.Now()
	}
	d.record.disabled, d.record.reason = change.Disabled, change.StatusReason
	d.newETag()
	return nil
}

func (d *device) newETag() { d.record.etag = d.cloud.nextVersion() }

// nextVersion returns a number for an ETag that no other has.
func (c *Cloud) nextVersion() int {
	c.versions++
	return c.versions
}

// decodeKeys returns two keys. Both are nil if both texts are empty.
func decodeKeys(primary, secondary string) ([]byte, []byte, error) {
	if primary == "" && secondary == "" {
		return nil, nil, nil
	}
	if primary == "" || secondary == "" {
		return nil, nil, fmt.Errorf("%w: there must be a primary and a secondary key, or neither", ErrInvalid)
	}
	first, err := base64.StdEncoding.DecodeString(primary)
	second, err2 := base64.StdEncoding.DecodeString(secondary)
	for _, key := range [][]byte{first, second} {
		if err != nil || err2 != nil || len(key) < shortestKey || len(key) > longestKey {
			return nil, nil, fmt.Errorf("%w: a key is not base64 of %d to %d bytes", ErrInvalid, shortestKey,
				longestKey)
		}
	}
	return first, second, nil
}

func newKey() string {
	key := make([]byte, newKeySize)
	_, _ = rand.Read(key) // crypto/rand never fails
	return base64.StdEncoding.EncodeToString(key)
}

// RenewKeys gives a device a new primary key, a new secondary key, or both. Its connection stays
// until its token expires.
func (c *Cloud) RenewKeys(hubName, id string, primary, secondary bool) (Identity, error) {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.atHub(hubName, id)
	if err != nil {
		return Identity{}, err
	}
	for key, renew := range map[*[]byte]bool{&d.key: primary, &d.record.secondary: secondary} {
		if renew {
			*key, _ = base64.StdEncoding.DecodeString(newKey())
		}
	}
	d.newETag()
	c.emit(KindAssigned, hubName, id, "has new keys in the identity registry of hub %s", hubName)
	return d.identity(), nil
}

// DeleteIdentity deletes a device at its hub with its twin and its queue, but not what DPS knows of it.
func (c *Cloud) DeleteIdentity(hubName, id, match string) error {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.matching(hubName, id, match)
	if err != nil {
		return err
	}
	c.delete(d)
	c.emit(KindAssigned, hubName, id, "deleted in the identity registry of hub %s", hubName)
	return nil
}
