package emulator

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"
)

// savedRecord is what the service API has added to a device: the rest of its identity, and its tags.
// Files of older versions have none of it.
type savedRecord struct {
	Secondary         []byte         `json:"secondary,omitempty"`
	ETag              int            `json:"etag,omitempty"`
	Disabled          bool           `json:"disabled,omitempty"`
	Reason            string         `json:"reason,omitempty"`
	StatusUpdated     time.Time      `json:"statusUpdated,omitzero"`
	ConnectionUpdated time.Time      `json:"connectionUpdated,omitzero"`
	RegistrationID    string         `json:"registrationId,omitempty"`
	Allocated         int            `json:"allocated,omitempty"`
	Tags              map[string]any `json:"tags,omitempty"`
	TagsVersion       int            `json:"tagsVersion,omitempty"`
}

type savedProvisioning struct {
	Versions      int                 `json:"versions,omitempty"`
	Enrollments   []savedEnrollment   `json:"enrollments,omitempty"`
	Registrations []savedRegistration `json:"registrations,omitempty"`
}

type savedEnrollment struct {
	Enrollment
	Version int `json:"version"`
}

type savedRegistration struct {
	ID          string    `json:"id"`
	Group       string    `json:"group,omitempty"`
	Device      string    `json:"device"`
	AssignedHub string    `json:"assignedHub,omitempty"`
	Created     time.Time `json:"created"`
	Version     int       `json:"version"`
}

func (d *device) savedRecord() savedRecord {
	return savedRecord{
		Secondary: d.record.secondary, ETag: d.record.etag, Disabled: d.record.disabled, Reason: d.record.reason,
		StatusUpdated: d.record.statusUpdated, ConnectionUpdated: d.connectionUpdated,
		RegistrationID: d.registrationID, Allocated: d.allocated, Tags: d.twin.tags, TagsVersion: d.twin.tagsVersion,
	}
}

// restoreRecord restores what savedRecord returned. A device of an older version, whose key is that of
// its enrollment, keeps the secondary key of its enrollment; another one has one key twice.
func (d *device) restoreRecord(s savedDevice) {
	primary, _ := d.cloud.provisioning.keysFor(d.id)
	switch {
	case len(s.Secondary) > 0:
		d.record.secondary = s.Secondary
	case !bytes.Equal(primary, s.Key):
		d.record.secondary = s.Key
		_ = d.cloud.enrollIndividually(d.id, s.Key) // cannot fail, because the key was decoded
	}
	if s.ETag > 0 {
		d.record.etag = s.ETag
	}
	d.record.disabled, d.record.reason, d.record.statusUpdated = s.Disabled, s.Reason, s.StatusUpdated
	d.connectionUpdated, d.registrationID, d.allocated = s.ConnectionUpdated, s.RegistrationID, s.Allocated
	if s.Tags != nil {
		d.twin.tags = s.Tags
	}
	d.twin.tagsVersion = s.TagsVersion
}

func (p *provisioning) snapshot() savedProvisioning {
	all := savedProvisioning{Versions: p.cloud.versions}
	for _, key := range p.sorted() {
		e := p.enrollments[key]
		if key.group && key.id == DefaultGroup {
			e = &enrollment{Enrollment: e.Enrollment, version: e.version}
			e.PrimaryKey, e.SecondaryKey = "", "" // the configuration has them
		}
		all.Enrollments = append(all.Enrollments, savedEnrollment{e.Enrollment, e.version})
	}
	for _, id := range slices.Sorted(maps.Keys(p.registrations)) {
		r := p.registrations[id]
		all.Registrations = append(all.Registrations,
			savedRegistration{id, r.group, r.deviceID, r.assignedHub, r.created, r.version})
	}
	return all
}

func (p *provisioning) restore(all savedProvisioning) error {
	for _, s := range all.Enrollments {
		key := enrollmentKey{s.Group, s.ID}
		if old := p.enrollments[key]; old != nil && s.Group && s.ID == DefaultGroup {
			s.PrimaryKey, s.SecondaryKey = old.PrimaryKey, old.SecondaryKey
		}
		e, err := decoded(s.Enrollment)
		if err == nil {
			err = p.cloud.checkPolicies(s.Enrollment)
		}
		if err != nil {
			return fmt.Errorf("enrollment %.128q: %w", s.ID, err)
		}
		e.version = s.Version
		p.enrollments[key] = e
	}
	p.cloud.versions = max(p.cloud.versions, all.Versions)
	for _, s := range all.Registrations {
		p.registrations[s.ID] = &registration{s.Group, s.Device, s.AssignedHub, s.Created, s.Version}
	}
	return nil
}
