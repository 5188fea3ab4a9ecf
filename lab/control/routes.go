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

// methods holds the handlers of one path by HTTP method.
type methods map[string]handler

// apiVersions are the versions of IoT Central's API that the routes below /api/ implement.
var apiVersions = []string{"2022-07-31", "2022-06-30-preview", "2022-05-31"}

func (s *Server) handler() http.Handler {
	const devices, system = "/api/devices", "/system/iothub/devices/{device}"
	a := s.application
	mux := http.NewServeMux()
	for at, m := range map[string]methods{
		devices: {"GET": a.listDevices},
		devices + "/{device}": {
			"GET": a.showDevice, "PUT": a.putDevice, "PATCH": a.patchDevice, "DELETE": a.deleteDevice,
		},
		devices + "/{device}/credentials": {"GET": a.credentials},
		devices + "/{device}/components":  {"GET": a.components},
		"/api/deviceTemplates":            {"GET": a.templates},
		"/api/deviceTemplates/{template}": {"GET": a.template, "PUT": a.putTemplate},
		system + "/manual-failover":       {"POST": a.failover},
		system + "/manual-failback":       {"POST": a.failback},
		system + "/get-twin":              {"GET": a.twin},
		system + "/c2d":                   {"DELETE": a.purgeQueue},
		"/system/iothubs/{operation}":     {"POST": noEventHub},
		"/lizard/v1/devices/{device}":     {"PUT": s.createDevice},
		"/lizard/v1/faults":               {"GET": s.faults},
		"/lizard/v1/messages":             {"GET": s.messages},
		"/lizard/v1/strikes":              {"GET": s.listActive, "POST": s.inject, "DELETE": s.clear},
	} {
		mux.Handle(at, m)
	}
	for _, part := range []string{devices + "/{device}", devices + "/{device}/components/{component}"} {
		mux.Handle(part+"/properties", methods{"GET": a.properties, "PUT": a.putProperties, "PATCH": a.patchProperties})
		mux.Handle(part+"/telemetry/{name}", methods{"GET": a.telemetry})
		mux.Handle(part+"/commands/{name}", methods{"GET": a.commandHistory, "POST": a.runCommand})
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

func checkVersion(r *http.Request) error {
	if !strings.HasPrefix(r.URL.Path, "/api/") || slices.Contains(apiVersions, r.URL.Query().Get("api-version")) {
		return nil
	}
	return invalidParameter("The query must name a known version of the API: api-version=%s.", apiVersions[0])
}

// noEventHub answers clients of IoT Central that want to read telemetry from Event Hubs.
func noEventHub(*http.Request, []byte) (int, any, error) {
	return 0, nil, &problem{http.StatusNotImplemented, "501", "The emulator has no Event Hubs to read from: " +
		"use GET …/telemetry/{name}, or failover emulator --ledger-file."}
}
