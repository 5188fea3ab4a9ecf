package control

import (
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
)

// A handler answers a request with a status and a value for JSON, or with an error. Nil means an
// empty body.
type handler func(r *http.Request, body []byte) (status int, answer any, err error)

// methods holds the handlers of one path by HTTP method. The handler of everyMethod is for all methods
// that have no other.
type methods map[string]handler

const everyMethod = "*"

// apiVersions are the versions of IoT Central's API that the routes below /api/ accept, the newest stable
// one first. All answer in the form of that one. Source: the folders of the specifications in
// https://github.com/Azure/azure-rest-api-specs, specification/iotcentral/data-plane.
var apiVersions = []string{
	"2022-07-31", "2022-05-31", "1.0", "2022-10-31-preview", "2022-06-30-preview", "1.2-preview", "1.1-preview",
}

// routes returns the handlers by path.
func (s *Server) routes() map[string]methods {
	const devices, system = "/api/devices", "/system/iothub/devices/{device}"
	a := s.application
	all := map[string]methods{
		devices: {"GET": a.listDevices},
		devices + "/{device}": {
			"GET": a.showDevice, "PUT": a.putDevice, "PATCH": a.patchDevice, "DELETE": a.deleteDevice,
		},
		devices + "/{device}/credentials":   {"GET": a.credentials},
		devices + "/{device}/components":    {"GET": a.components},
		devices + "/{device}/modules":       {"GET": a.modules},
		devices + "/{device}/relationships": {"GET": a.relationships},
		devices + "/{device}/attestation": {
			"GET": a.attestation, "PUT": a.setAttestation, "PATCH": a.setAttestation, "DELETE": a.deleteAttestation,
		},
		"/api/deviceTemplates": {"GET": a.templates},
		"/api/deviceTemplates/{template}": {
			"GET": a.template, "PUT": a.putTemplate, "PATCH": a.patchTemplate, "DELETE": a.deleteTemplate,
		},
		system + "/manual-failover":                {"POST": a.failover},
		system + "/manual-failback":                {"POST": a.failback},
		system + "/get-twin":                       {"GET": a.twin},
		system + "/c2d":                            {"DELETE": a.purgeQueue},
		"/system/iotedge/devices/{device}/modules": {"GET": a.edgeModules},
		"/system/iothubs/{operation}":              {"POST": noEventHub},
		"/lizard/v1/devices/{device}":              {"PUT": s.createDevice},
		"/lizard/v1/faults":                        {"GET": s.faults},
		"/lizard/v1/messages":                      {"GET": s.messages},
		"/lizard/v1/strikes":                       {"GET": s.listActive, "POST": s.inject, "DELETE": s.clear},
	}
	for path, why := range missingParts {
		missing := methods{everyMethod: missingPart(why)}
		all[strings.TrimSuffix(path, "/")+"/{rest...}"] = missing
		if !strings.HasSuffix(path, "/") {
			all[path] = missing
		}
	}
	for _, part := range []string{devices + "/{device}", devices + "/{device}/components/{component}"} {
		all[part+"/properties"] = methods{"GET": a.properties, "PUT": a.putProperties, "PATCH": a.patchProperties}
		all[part+"/telemetry/{name}"] = methods{"GET": a.telemetry}
		all[part+"/commands/{name}"] = methods{"GET": a.commandHistory, "POST": a.runCommand}
	}
	return all
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for at, m := range s.routes() {
		mux.Handle(at, m)
	}
	return s.requireToken(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		whole := r.URL.EscapedPath()
		// ServeMux would redirect such a path
		if _, pattern := mux.Handler(r); pattern == "" || path.Clean(whole) != whole {
			writeProblem(w, &problem{http.StatusNotFound, "NotFound",
				fmt.Sprintf("There is nothing at %.200q.", r.URL.Path)})
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

// ServeHTTP calls the handler of the request's method.
func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, known := m[r.Method]
	if !known {
		h, known = m[everyMethod]
	}
	if !known {
		allowed := strings.Join(slices.Sorted(maps.Keys(m)), ", ")
		w.Header().Set("Allow", allowed)
		writeProblem(w, &problem{http.StatusMethodNotAllowed, "MethodNotAllowed", "The allowed methods are " +
			allowed + "."})
		return
	}
	text, err := readBody(w, r)
	if err == nil {
		err = checkVersion(r)
	}
	status, value := 0, any(nil)
	if err == nil {
		status, value, err = h(r, text)
	}
	if err != nil {
		writeProblem(w, toProblem(err))
		return
	}
	if write, is := value.(stream); is {
		write(w)
		return
	}
	writeAnswer(w, status, value)
}

// checkVersion refuses a version of the API that IoT Central never had. azure-sdk-for-go issue 23817 shows
// the answer of IoT Central, and that "undefined" stands for a version that was not sent.
func checkVersion(r *http.Request) error {
	query := r.URL.Query()
	given := query.Get("api-version")
	if !strings.HasPrefix(r.URL.Path, "/api/") || slices.Contains(apiVersions, given) {
		return nil
	}
	if !query.Has("api-version") {
		given = "undefined"
	}
	return notFound("%.60q is not a valid API version. The query must name one, such as api-version=%s; the emulator "+
		"knows %s.", given, apiVersions[0], strings.Join(apiVersions, ", "))
}
