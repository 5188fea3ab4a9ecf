package service

import (
	"net/http"
	"slices"
	"strings"
)

// guard refuses requests without a token of the endpoint's policy, and all requests of web pages in
// a browser, which sends the header Origin, or a foreign Host if the name of the page was changed to
// resolve to this machine (DNS rebinding).
func (a *api) guard(r *http.Request) error {
	if _, fromPage := r.Header["Origin"]; fromPage {
		return forbidden("A request with an Origin comes from a web page, and web pages are not allowed.")
	}
	if !a.cloud.IsOwnHost(r.Host) {
		return forbidden("The Host of the request is neither a loopback address nor the host of the emulator.")
	}
	if err := a.cloud.CheckServiceToken(a.endpoint, r.Header["Authorization"]); err != nil {
		return unauthorized(err)
	}
	return nil
}

func forbidden(message string) error {
	return &problem{status: http.StatusForbidden, code: 403001, name: "Forbidden", message: message}
}

// unauthorized is the answer to a request without a right token. A real service does not say what is
// wrong with the token; the emulator does.
func unauthorized(err error) error {
	return &problem{status: http.StatusUnauthorized, code: 401002, name: "IotHubUnauthorizedAccess",
		message: "Unauthorized: " + err.Error()}
}

// checkVersion refuses an api-version that no document and no SDK names.
func (a *api) checkVersion(r *http.Request) error {
	version := r.URL.Query().Get("api-version")
	if slices.Contains(a.versions, version) {
		return nil
	}
	newest := a.versions[0]
	return &problem{status: http.StatusBadRequest, code: 400001, name: "InvalidProtocolVersion",
		message: "The query must name a known version of the API, such as api-version=" + newest + "."}
}

// ifMatch returns the ETag of the header If-Match without its quotes, "*" for any version, or "" if
// there is no such header.
func ifMatch(r *http.Request) (tag string, quoted bool) {
	text := strings.TrimPrefix(strings.TrimSpace(r.Header.Get("If-Match")), "W/")
	if len(text) >= 2 && strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`) {
		return text[1 : len(text)-1], true
	}
	return text, false
}
