package service

import (
	"net/http"
	"slices"
	"strings"

	"giantlizard.example/failover/lab/emulator"
)

// enrollments are the requests about individual enrollments or about enrollment groups.
type enrollments struct {
	dps
	group bool
}

// An enrollmentBody is the body of a request that stores an enrollment. Its other members are
// read-only, and ignored.
type enrollmentBody struct {
	RegistrationID    *string `json:"registrationId"`
	EnrollmentGroupID *string `json:"enrollmentGroupId"`
	DeviceID          string  `json:"deviceId"`
	Attestation       *struct {
		Type         string `json:"type"`
		SymmetricKey struct {
			PrimaryKey   string `json:"primaryKey"`
			SecondaryKey string `json:"secondaryKey"`
		} `json:"symmetricKey"`
	} `json:"attestation"`
	Capabilities struct {
		IoTEdge bool `json:"iotEdge"`
	} `json:"capabilities"`
	ProvisioningStatus string   `json:"provisioningStatus"`
	AllocationPolicy   string   `json:"allocationPolicy"`
	IoTHubHostName     string   `json:"iotHubHostName"`
	IoTHubs            []string `json:"iotHubs"`
	ReprovisionPolicy  *struct {
		UpdateHubAssignment *bool `json:"updateHubAssignment"`
		MigrateDeviceData   *bool `json:"migrateDeviceData"`
	} `json:"reprovisionPolicy"`
	InitialTwin struct {
		Tags       map[string]any `json:"tags"`
		Properties struct {
			Desired map[string]any `json:"desired"`
		} `json:"properties"`
	} `json:"initialTwin"`
	OptionalDeviceInformation map[string]any `json:"optionalDeviceInformation"`
}

// enrollment returns what the body says.
func (b enrollmentBody) enrollment(e enrollments, id string) (emulator.Enrollment, error) {
	none := emulator.Enrollment{}
	named := b.RegistrationID
	if e.group {
		named = b.EnrollmentGroupID
	}
	notEmulated := func(sentence string) (emulator.Enrollment, error) {
		return none, &problem{http.StatusNotImplemented, 501001, "NotImplemented", sentence}
	}
	switch {
	case named == nil || *named != id:
		return none, invalid("The ID in the body is not that of the path.")
	case b.Attestation == nil:
		return none, invalid("The body has no attestation.")
	case slices.Contains([]string{"x509", "tpm"}, strings.ToLower(b.Attestation.Type)):
		return notEmulated("An enrollment of the emulator has symmetric keys: it has no certificates and no TPM yet.")
	case !strings.EqualFold(b.Attestation.Type, "symmetricKey"):
		return none, invalid("The type of the attestation is not symmetricKey.")
	case b.Capabilities.IoTEdge:
		return notEmulated("The emulator has no IoT Edge devices.")
	case strings.EqualFold(b.AllocationPolicy, "custom"):
		return notEmulated("The emulator calls no webhook. The flag --payload of failover emulator sets what an " +
			"assignment carries.")
	case b.ProvisioningStatus != "" && b.ProvisioningStatus != "enabled" && b.ProvisioningStatus != "disabled":
		return none, invalid("The provisioningStatus is neither enabled nor disabled.")
	}
	hubs, err := e.hubNames(b)
	allocation := b.AllocationPolicy
	if allocation == "" && b.IoTHubHostName != "" {
		allocation = emulator.AllocationStatic
	}
	keys := b.Attestation.SymmetricKey
	stored := emulator.Enrollment{
		Group: e.group, ID: id, DeviceID: b.DeviceID, PrimaryKey: keys.PrimaryKey, SecondaryKey: keys.SecondaryKey,
		Disabled: b.ProvisioningStatus == "disabled", Allocation: allocation, Hubs: hubs,
		Tags: withoutNulls(b.InitialTwin.Tags), Desired: withoutNulls(b.InitialTwin.Properties.Desired),
		DeviceInformation: b.OptionalDeviceInformation,
	}
	if policy := b.ReprovisionPolicy; policy != nil {
		stored.KeepHub = policy.UpdateHubAssignment != nil && !*policy.UpdateHubAssignment
		stored.ResetData = policy.MigrateDeviceData != nil && !*policy.MigrateDeviceData
	}
	return stored, err
}

// hubNames returns the names of the hubs whose hosts the body has.
func (e enrollments) hubNames(b enrollmentBody) (names []string, err error) {
	hosts := b.IoTHubs
	if b.IoTHubHostName != "" {
		hosts = []string{b.IoTHubHostName}
	}
	for _, host := range hosts {
		i := slices.IndexFunc(e.cloud.HubNames(), func(name string) bool { return e.cloud.IsHub(name, host) })
		if i < 0 {
			return nil, invalid("The hub %.100q is not linked to this DPS, which has %s.", host, e.linkedHubs())
		}
		names = append(names, e.cloud.HubNames()[i])
	}
	return names, nil
}

func (e enrollments) linkedHubs() string {
	var hosts []string
	for _, name := range e.cloud.HubNames() {
		hosts = append(hosts, e.cloud.HubHost(name))
	}
	return strings.Join(hosts, ", ")
}

// withoutNulls drops members that are null: az sends "count": null and the like for members that are
// left out.
func withoutNulls(members map[string]any) map[string]any {
	for name, value := range members {
		if value == nil {
			delete(members, name)
		}
	}
	return members
}

func (e enrollments) put(q request) (answer, error) {
	var body enrollmentBody
	if err := decode(q.body, &body); err != nil {
		return answer{}, err
	}
	stored, err := body.enrollment(e, q.id)
	if err != nil {
		return answer{}, err
	}
	tag, _ := ifMatch(q.Request)
	if stored, err = e.cloud.PutEnrollment(stored, tag); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, value: e.view(stored)}, nil
}

func (e enrollments) show(q request) (answer, error) {
	stored, err := e.cloud.Enrollment(e.group, q.id)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, value: e.view(stored)}, nil
}

// showKeys returns the keys, which the other answers leave out.
func (e enrollments) showKeys(q request) (answer, error) {
	stored, err := e.cloud.Enrollment(e.group, q.id)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, value: map[string]any{
		"type":         "symmetricKey",
		"symmetricKey": map[string]string{"primaryKey": stored.PrimaryKey, "secondaryKey": stored.SecondaryKey},
	}}, nil
}

// delete deletes an enrollment. Without If-Match it deletes any version.
func (e enrollments) delete(q request) (answer, error) {
	tag, _ := ifMatch(q.Request)
	if tag == "" {
		tag = "*"
	}
	if err := e.cloud.DeleteEnrollment(e.group, q.id, tag); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusNoContent}, nil
}

func (e enrollments) list(q request) (answer, error) {
	if err := checkDPSQuery(q.body); err != nil {
		return answer{}, err
	}
	kind := "enrollment"
	if e.group {
		kind = "enrollmentGroup"
	}
	found, err := pageOf(q.Request, e.cloud.Enrollments(e.group), func(s emulator.Enrollment) string { return s.ID },
		func(s emulator.Enrollment) any { return e.view(s) })
	return found.answer(kind), err
}

// view is an enrollment as DPS shows it.
func (e enrollments) view(s emulator.Enrollment) map[string]any {
	view := map[string]any{
		"attestation": map[string]any{"type": "symmetricKey"}, "capabilities": map[string]bool{"iotEdge": false},
		"etag": quoted(s.ETag), "provisioningStatus": "enabled", "createdDateTimeUtc": timestamp(s.Created),
		"lastUpdatedDateTimeUtc": timestamp(s.Updated),
		"reprovisionPolicy": map[string]bool{
			"updateHubAssignment": !s.KeepHub, "migrateDeviceData": !s.KeepHub && !s.ResetData,
		},
	}
	if s.Disabled {
		view["provisioningStatus"] = "disabled"
	}
	if s.Allocation != "" {
		view["allocationPolicy"] = s.Allocation
	}
	if len(s.Hubs) > 0 {
		var hosts []string
		for _, name := range s.Hubs {
			hosts = append(hosts, e.cloud.HubHost(name))
		}
		view["iotHubs"] = hosts
	}
	if len(s.Tags) > 0 || len(s.Desired) > 0 {
		view["initialTwin"] = map[string]any{
			"tags": orEmpty(s.Tags), "properties": map[string]any{"desired": orEmpty(s.Desired)},
		}
	}
	if e.group {
		view["enrollmentGroupId"] = s.ID
		return view
	}
	view["registrationId"] = s.ID
	if s.DeviceID != "" {
		view["deviceId"] = s.DeviceID
	}
	if len(s.DeviceInformation) > 0 {
		view["optionalDeviceInformation"] = s.DeviceInformation
	}
	if r, err := e.cloud.RegistrationState(s.ID); err == nil && r.Group == "" {
		view["registrationState"] = registrationView(r)
	}
	return view
}

func orEmpty(members map[string]any) map[string]any {
	if members == nil {
		return map[string]any{}
	}
	return members
}
