package emulator

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"
)

// DefaultGroup is the enrollment group whose key is Config.GroupKey. Its keys cannot be changed, and
// it cannot be deleted, because the emulator prints its key at each start.
const DefaultGroup = "default"

// The errors of enrollments, beside ErrETag, ErrInvalid and ErrNotEmulated.
var (
	ErrUnknownEnrollment = errors.New("emulator: there is no such enrollment")
	ErrEnrollmentExists  = errors.New("emulator: the enrollment exists already")
)

// The allocation policies. AllocationNone means that the policy of DPS counts: the emulator assigns
// a new device to the first hub, or to where the devices of that hub were moved.
const (
	AllocationNone       = ""
	AllocationHashed     = "hashed"
	AllocationGeoLatency = "geoLatency" // the first of the hubs, because all are equally near
	AllocationStatic     = "static"
)

// An Enrollment is an entry of DPS: an individual enrollment for one registration ID, or an
// enrollment group for all registration IDs whose key is derived from the group's key. It must not
// be changed after it was given to the cloud or returned by it.
type Enrollment struct {
	Group                    bool
	ID                       string // registration ID, or name of the group
	DeviceID                 string // the ID at the hub; "" means the registration ID; not for a group
	PrimaryKey, SecondaryKey string // base64; both are valid
	Disabled                 bool
	Allocation               string   // one of the allocation policies
	Hubs                     []string // names of the hubs to choose from; empty means all
	KeepHub                  bool     // a device that registers again stays at its hub, whatever changes
	ResetData                bool     // a device that DPS moves gets the initial twin; otherwise its twin is carried
	Tags, Desired            map[string]any
	DeviceInformation        map[string]any // what a back end notes about the device
	ETag                     string
	Created, Updated         time.Time
}

// An enrollment is a stored Enrollment with its decoded keys.
type enrollment struct {
	Enrollment
	primary, secondary []byte
	version            int
}

// An enrollmentKey identifies an enrollment.
type enrollmentKey struct {
	group bool
	id    string
}

// provisioning is what DPS has stored. The cloud's lock guards it.
type provisioning struct {
	cloud         *Cloud
	enrollments   map[enrollmentKey]*enrollment
	registrations map[string]*registration
	lastLogin     map[string]enrollmentKey // the enrollment whose key has signed the last token, by registration ID
}

func newProvisioning(c *Cloud) *provisioning {
	p := &provisioning{
		cloud: c, enrollments: map[enrollmentKey]*enrollment{}, registrations: map[string]*registration{},
		lastLogin: map[string]enrollmentKey{},
	}
	_, _ = p.store(Enrollment{ // the keys were checked with the configuration
		Group: true, ID: DefaultGroup, PrimaryKey: base64.StdEncoding.EncodeToString(c.groupKey),
		SecondaryKey: base64.StdEncoding.EncodeToString(deriveKey(c.groupKey, "group/secondary")),
	}, nil)
	return p
}

// store adds or replaces an enrollment. old is the stored version, or nil.
func (p *provisioning) store(e Enrollment, old *enrollment) (*enrollment, error) {
	stored, err := decoded(e)
	if err != nil {
		return nil, err
	}
	version := p.cloud.nextVersion()
	e.Updated, e.ETag = time.Now(), etag(version)
	if e.Created = e.Updated; old != nil {
		e.Created = old.Created
	}
	stored.Enrollment, stored.version = e, version
	p.enrollments[enrollmentKey{e.Group, e.ID}] = stored
	return stored, nil
}

// decoded returns an enrollment with its decoded keys.
func decoded(e Enrollment) (*enrollment, error) {
	primary, err := base64.StdEncoding.DecodeString(e.PrimaryKey)
	secondary, err2 := base64.StdEncoding.DecodeString(e.SecondaryKey)
	if errors.Join(err, err2) != nil {
		return nil, fmt.Errorf("%w: a key is not base64", ErrInvalid)
	}
	return &enrollment{Enrollment: e, primary: primary, secondary: secondary}, nil
}

// keys returns the two keys with which a registration ID signs its tokens under this enrollment.
func (e *enrollment) keys(registrationID string) (primary, secondary []byte) {
	if !e.Group {
		return e.primary, e.secondary
	}
	return deriveKey(e.primary, registrationID), deriveKey(e.secondary, registrationID)
}

// candidates returns the enrollments by which a registration ID may register: its individual
// enrollment alone if there is one, or else all groups, the default group first. An individual
// enrollment takes precedence: azure-docs iot-dps/concepts-service.md.
func (p *provisioning) candidates(registrationID string) []*enrollment {
	if e := p.enrollments[enrollmentKey{false, registrationID}]; e != nil {
		return []*enrollment{e}
	}
	all := []*enrollment{p.enrollments[enrollmentKey{true, DefaultGroup}]}
	for _, key := range p.sorted() {
		if key.group && key.id != DefaultGroup {
			all = append(all, p.enrollments[key])
		}
	}
	return all
}

// keysFor returns the keys of a device that has not registered yet.
func (p *provisioning) keysFor(registrationID string) (primary, secondary []byte) {
	return p.candidates(registrationID)[0].keys(registrationID)
}

// check checks the token of a device that connects to DPS, and remembers the enrollment whose key has
// signed it. After an error it returns that of the first candidate.
func (p *provisioning) check(t token, id, resource string, now time.Time) error {
	var first error
	for _, e := range p.candidates(id) {
		primary, secondary := e.keys(id)
		_, err := t.checkAny([][]byte{primary, secondary}, resource, now)
		if err == nil {
			p.lastLogin[id] = enrollmentKey{e.Group, e.ID}
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// hubs returns the hubs from which an enrollment chooses.
func (e *enrollment) hubs(c *Cloud) []*hub {
	if len(e.Hubs) == 0 {
		return c.hubs
	}
	var all []*hub
	for _, h := range c.hubs {
		if slices.Contains(e.Hubs, h.name) {
			all = append(all, h)
		}
	}
	return all
}

// choose returns the hub to which the enrollment assigns a device that has none.
func (e *enrollment) choose(c *Cloud, id string) *hub {
	all := e.hubs(c)
	switch e.Allocation {
	case AllocationHashed:
		hash := fnv.New32a()
		_, _ = hash.Write([]byte(id))
		return all[hash.Sum32()%uint32(len(all))]
	case AllocationGeoLatency, AllocationStatic:
		return all[0]
	}
	if slices.Contains(all, c.defaultHub) {
		return c.defaultHub
	}
	return all[0]
}

// list returns the enrollments of a kind, sorted by ID.
func (p *provisioning) list(group bool) []Enrollment {
	var all []Enrollment
	for _, key := range p.sorted() {
		if key.group == group {
			all = append(all, p.enrollments[key].Enrollment)
		}
	}
	return all
}

func (p *provisioning) sorted() []enrollmentKey {
	return slices.SortedFunc(maps.Keys(p.enrollments), func(a, b enrollmentKey) int { return cmp.Compare(a.id, b.id) })
}
