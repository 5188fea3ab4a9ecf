package emulator

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"reflect"
)

// maximumTags is the largest size of the tags, counted as in sizeOfJSON: azure-docs
// iot-hub/iot-hub-devguide-device-twins.md.
const maximumTags = 8 << 10

// A DeviceTwin is the twin of a device as a back end sees it. Its maps must not be changed.
type DeviceTwin struct {
	Identity
	Model             string
	ETag              string // of the tags and the desired properties
	Version           int
	Tags              map[string]any
	Desired, Reported TwinSection
}

// A TwinChange is a change of a twin by a back end. Nil means that a part is left out.
type TwinChange struct {
	Tags, Desired map[string]any
	Replace       bool // the parts replace the present ones, and a part that is left out becomes empty
}

// DeviceTwin returns the twin of a device of a hub.
func (c *Cloud) DeviceTwin(hubName, id string) (DeviceTwin, error) {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.atHub(hubName, id)
	if err != nil {
		return DeviceTwin{}, err
	}
	return d.deviceTwin(), nil
}

// DeviceTwins returns the twins of the devices of a hub, sorted by device ID.
func (c *Cloud) DeviceTwins(hubName string) []DeviceTwin {
	c.mu.Lock()
	defer c.unlock()
	h, err := c.hub(hubName)
	if err != nil {
		return nil
	}
	var all []DeviceTwin
	for _, d := range h.devices() {
		if d.faults[Deleted] == nil {
			all = append(all, d.deviceTwin())
		}
	}
	return all
}

func (d *device) deviceTwin() DeviceTwin {
	t := d.twin
	return DeviceTwin{
		Identity: d.identity(), Model: d.model, ETag: t.etag(),
		Version: t.desired.version + t.reported.version + t.tagsVersion,
		Tags:    t.tags, Desired: t.desired.shown(), Reported: t.reported.shown(),
	}
}

// etag returns the ETag of a twin in the format of a hub: eight bytes in base64, such as AAAAAAAAAAE=.
func (t twin) etag() string {
	counter := binary.BigEndian.AppendUint64(nil, uint64(t.desired.version+t.tagsVersion))
	return base64.StdEncoding.EncodeToString(counter)
}

// ChangeTwin merges a change into the twin of a device, where null deletes a member, or replaces its
// tags and desired properties. match is the ETag of the version to change, or "*" for any. The device
// learns of a change of the desired properties as from SetDesired.
func (c *Cloud) ChangeTwin(hubName, id, match string, change TwinChange) (DeviceTwin, error) {
	c.mu.Lock()
	defer c.unlock()
	d, err := c.atHub(hubName, id)
	if err == nil && match != "*" && match != d.twin.etag() {
		err = ErrETag
	}
	if err != nil {
		return DeviceTwin{}, err
	}
	tags, desired := change.Tags, change.Desired
	if change.Replace {
		tags, desired = replacing(d.twin.tags, tags), replacing(d.twin.desired.properties, desired)
	}
	merged, err := mergeTags(d.twin.tags, tags)
	if err != nil {
		return DeviceTwin{}, fmt.Errorf("%w: tags: %w", ErrInvalid, err)
	}
	if len(desired) > 0 {
		notes, err := checkPatch(desired)
		if err == nil {
			err = d.patchDesired(desired, notes)
		}
		if err != nil {
			return DeviceTwin{}, fmt.Errorf("%w: desired properties: %w", ErrInvalid, err)
		}
	}
	if !reflect.DeepEqual(merged, d.twin.tags) {
		d.twin.tags = merged
		d.twin.tagsVersion++
		c.emit(KindTwin, hubName, id, "tags changed")
	}
	return d.deviceTwin(), nil
}

// replacing returns the patch that makes the new value of the old one.
func replacing(old, value map[string]any) map[string]any {
	patch := map[string]any{}
	for name := range old {
		if _, kept := value[name]; !kept {
			patch[name] = nil
		}
	}
	for name, member := range value {
		before, wasObject := old[name].(map[string]any)
		after, isObject := member.(map[string]any)
		if wasObject && isObject {
			patch[name] = replacing(before, after)
		} else {
			patch[name] = member
		}
	}
	return patch
}

// mergeTags returns the tags after a patch.
func mergeTags(tags, patch map[string]any) (map[string]any, error) {
	if patch == nil {
		return tags, nil
	}
	if _, err := checkPatch(patch); err != nil {
		return nil, err
	}
	merged := merge(tags, patch)
	if size := sizeOfJSON(merged); size > maximumTags {
		return nil, fmt.Errorf("the tags would count %d bytes; the limit is %d", size, maximumTags)
	}
	return merged, nil
}

// IsTooLarge reports whether an operation was refused because the properties of a twin would be too
// large.
func IsTooLarge(err error) bool {
	return refusalOf(err) == refuseTwinSize
}
