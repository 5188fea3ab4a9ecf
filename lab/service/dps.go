package service

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"

	"giantlizard.example/failover/lab/emulator"
)

// dpsVersions are the versions of DPS's service API, newest first. Source: azure-iot-cli-extension and
// Microsoft's SDK for Node (2021-10-01), azure-rest-api-specs and protocol documents for the others.
var dpsVersions = []string{
	"2021-10-01", "2026-11-01", "2025-07-01-preview", "2023-02-01-preview", "2021-11-01-preview", "2021-06-01",
	"2019-03-31", "2018-11-01", "2018-09-01-preview", "2018-04-01", "2017-11-15",
}

// dps is the service API of DPS.
type dps struct{ *api }

func newDPS(cloud *emulator.Cloud) *api {
	a := &api{
		cloud: cloud, endpoint: emulator.TargetDPS, versions: dpsVersions, write: writeDPSError, toError: toDPSError,
	}
	p := dps{a}
	const device = "A device of the emulator registers over MQTT, not over HTTPS."
	bulk := notEmulated("The emulator changes enrollments one by one, not in bulk.")
	for path, group := range map[string]bool{"/enrollments": false, "/enrollmentGroups": true} {
		e := enrollments{p, group}
		a.routes = append(a.routes,
			route{path, map[string]handler{"POST": bulk}},
			route{path + "/query", map[string]handler{"POST": e.list}},
			route{path + "/{id}", map[string]handler{"GET": e.show, "PUT": e.put, "DELETE": e.delete}},
			route{path + "/{id}/attestationmechanism", map[string]handler{"POST": e.showKeys}},
		)
	}
	a.routes = append(a.routes,
		route{"/registrations/{id}", map[string]handler{"GET": p.showRegistration, "DELETE": p.deleteRegistration}},
		route{"/registrations/{id}/query", map[string]handler{"POST": p.listRegistrations}},
		route{"/{scope}/registrations/{id}", all(notEmulated(device))},
		route{"/{scope}/registrations/{id}/register", all(notEmulated(device))},
		route{"/{scope}/registrations/{id}/operations/{operation}", all(notEmulated(device))},
	)
	return a
}

// toDPSError converts the errors of enrollments and registrations. The codes are those that users have
// reported: azure-docs issue 57082 for 404201 and 404202.
func toDPSError(err error) *problem {
	switch {
	case errors.Is(err, emulator.ErrUnknownEnrollment):
		return &problem{status: http.StatusNotFound, code: 404201}
	case errors.Is(err, emulator.ErrUnknownRegistration):
		return &problem{status: http.StatusNotFound, code: 404202}
	case errors.Is(err, emulator.ErrEnrollmentExists):
		return &problem{status: http.StatusConflict, code: 409201}
	case errors.Is(err, emulator.ErrETag):
		return &problem{status: http.StatusPreconditionFailed, code: 412001}
	}
	return nil
}

func (p dps) showRegistration(q request) (answer, error) {
	r, err := p.cloud.RegistrationState(q.id)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, value: registrationView(r)}, nil
}

func (p dps) deleteRegistration(q request) (answer, error) {
	tag, _ := ifMatch(q.Request)
	if err := p.cloud.DeleteRegistration(q.id, tag); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusNoContent}, nil
}

// listRegistrations returns the registrations by an enrollment group. The body may be empty.
func (p dps) listRegistrations(q request) (answer, error) {
	if len(q.body) > 0 {
		if err := checkDPSQuery(q.body); err != nil {
			return answer{}, err
		}
	}
	list, err := p.cloud.RegistrationStates(q.id)
	if err != nil {
		return answer{}, err
	}
	found, err := pageOf(q.Request, list, func(r emulator.Registration) string { return r.ID },
		func(r emulator.Registration) any { return registrationView(r) })
	return found.answer("deviceRegistration"), err
}

// wholeQuery matches the only query of DPS that the emulator knows, and the Python object with that
// query that az iot dps enrollment list sends as text.
var wholeQuery = regexp.MustCompile(`(?i)^\s*(\{'additional_properties': \{\}, 'query': ')?` +
	`SELECT\s+\*(\s+FROM\s+(enrollments|enrollmentGroups|registrations))?\s*('\})?\s*$`)

func checkDPSQuery(body []byte) error {
	var q struct {
		Query string `json:"query"`
	}
	if err := decode(body, &q); err != nil {
		return err
	}
	if !wholeQuery.MatchString(q.Query) {
		return invalid("The query is invalid: the emulator knows only SELECT *.")
	}
	return nil
}

// registrationView is a registration as DPS shows it.
func registrationView(r emulator.Registration) map[string]any {
	view := map[string]any{
		"registrationId": r.ID, "status": r.Status, "etag": quoted(r.ETag),
		"createdDateTimeUtc": timestamp(r.Created), "lastUpdatedDateTimeUtc": timestamp(r.Updated),
	}
	if r.AssignedHub != "" {
		view["assignedHub"], view["deviceId"] = r.AssignedHub, r.DeviceID
	}
	if r.Substatus != "" {
		view["substatus"] = r.Substatus
	}
	if r.ErrorCode != 0 {
		view["errorCode"], view["errorMessage"] = r.ErrorCode, r.ErrorMessage
	}
	if len(r.Payload) > 0 {
		view["payload"] = json.RawMessage(r.Payload)
	}
	return view
}

// quoted returns an ETag with its quotes, which are a part of the text in DPS's bodies:
// azure-iot-sdk-csharp issue 3076.
func quoted(etag string) string { return `"` + etag + `"` }
