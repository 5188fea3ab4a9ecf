// Package service is the service APIs of the emulator's IoT hubs and of its DPS, over HTTPS: what az
// iot hub, az iot dps and the service SDKs of back ends use. Each endpoint answers on its MQTT port,
// so that its host name is the same for devices and back ends, as in the cloud.
//
// A request needs a SAS token of the shared access policy iothubowner of that hub, or of
// provisioningserviceowner of DPS; emulator.Cloud.ServiceConnectionString has their keys. Errors have
// the shapes of the services. What the emulator does not do is answered with 501 and a sentence.
package service

import (
	"net/http"
	"net/url"
	"strings"

	"giantlizard.example/failover/lab/emulator"
)

const maximumBody = 1 << 20 // bytes of a request; the limits of twins and methods are lower

// Serve makes the hubs and DPS of a cloud answer requests to their service APIs. It is called before
// clients connect. There is nothing to close: the requests end with the cloud.
func Serve(cloud *emulator.Cloud) error {
	for _, hub := range cloud.HubNames() {
		if err := cloud.HandleHTTP(hub, newHub(cloud, hub)); err != nil {
			return err
		}
	}
	return cloud.HandleHTTP(emulator.TargetDPS, newDPS(cloud))
}

// An api is the service API of one endpoint.
type api struct {
	cloud    *emulator.Cloud
	endpoint string
	versions []string // the known values of api-version
	routes   []route
	write    func(w http.ResponseWriter, p *problem) // writes an error in the shape of the service
	toError  func(err error) *problem                // converts an error of the cloud
}

// A route is a path with its handlers by HTTP method. A segment {…} is a parameter. The services
// ignore the case of the other segments: Microsoft's SDK for Node sends /enrollmentgroups.
type route struct {
	path    string
	methods map[string]handler
}

// A handler answers a request, or returns an error.
type handler func(q request) (answer, error)

// A request is an authorized request of a known version.
type request struct {
	*http.Request
	id   string // the first parameter of the path, decoded; "" means none
	body []byte
}

// An answer is the answer to a request that was not refused.
type answer struct {
	status int
	value  any               // for JSON; nil means an empty body
	header map[string]string // beside the content type
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	recorded := &recorder{ResponseWriter: w}
	id, h, err := a.find(r)
	if denied := a.guard(r); denied != nil {
		err = denied
	}
	if err == nil {
		err = a.checkVersion(r)
	}
	var body []byte
	if err == nil {
		body, err = readBody(w, r)
	}
	var result answer
	if err == nil {
		result, err = h(request{r, id, body})
	}
	if err != nil {
		a.write(recorded, a.problemOf(err))
	} else {
		writeJSON(recorded, result)
	}
	device := id
	if _, err := a.cloud.Device(id); err != nil {
		device = ""
	}
	a.cloud.ReportRequest(a.endpoint, device, r, recorded.status)
}

// A recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// find returns the handler of a request, and the first parameter of its path.
func (a *api) find(r *http.Request) (id string, h handler, err error) {
	segments := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	for _, route := range a.routes {
		id, matches := route.match(segments)
		if !matches {
			continue
		}
		if h := route.methods[r.Method]; h != nil {
			return id, h, nil
		}
		return id, nil, &problem{status: http.StatusMethodNotAllowed, code: 405001, name: "InvalidOperation",
			message: "The method " + r.Method + " is not allowed here."}
	}
	return "", nil, &problem{status: http.StatusNotFound, code: 404000, name: "NotFound",
		message: "The service API has no such path."}
}

func (route route) match(segments []string) (id string, matches bool) {
	pattern := strings.Split(strings.Trim(route.path, "/"), "/")
	if len(pattern) != len(segments) {
		return "", false
	}
	for i, want := range pattern {
		got, err := url.PathUnescape(segments[i])
		switch {
		case err != nil || got == "":
			return "", false
		case !strings.HasPrefix(want, "{"):
			if !strings.EqualFold(want, got) {
				return "", false
			}
		case id == "":
			id = got
		}
	}
	return id, true
}

// notEmulated returns a handler that answers 501 with a sentence.
func notEmulated(sentence string) handler {
	return func(request) (answer, error) {
		return answer{}, &problem{status: http.StatusNotImplemented, code: 501001, name: "NotImplemented",
			message: sentence}
	}
}

// all returns the same handler for all methods.
func all(h handler) map[string]handler {
	methods := map[string]handler{}
	for _, method := range []string{"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"} {
		methods[method] = h
	}
	return methods
}
