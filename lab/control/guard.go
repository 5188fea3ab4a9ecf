package control

import (
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// requireToken refuses requests without the token, and all requests of web pages in a browser. The
// browser sends the header Origin for a page of another site. If the host name of the page was
// changed to resolve to this machine (DNS rebinding), the browser sends the wrong Host.
func (s *Server) requireToken(inside http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, fromPage := r.Header["Origin"]
		switch {
		case r.URL.Path == "/ready": // health checks of containers use /ready, which only shows that the emulator runs
			w.WriteHeader(http.StatusNoContent)
		case fromPage:
			writeProblem(w, forbidden("A request with an Origin comes from a web page, and web pages are not allowed."))
		case !s.isOwnHost(r.Host):
			writeProblem(w, forbidden("The Host of the request is neither a loopback address nor the host of the e"+
				"mulator."))
		default:
			if err := s.authorize(r.Header["Authorization"]); err != nil {
				w.Header().Set("WWW-Authenticate", "Bearer")
				message := "The request is not authorized: " + err.Error() + "."
				writeProblem(w, &problem{http.StatusUnauthorized, "Unauthorized", message})
				return
			}
			inside.ServeHTTP(w, r)
		}
	})
}

func forbidden(message string) *problem {
	return &problem{http.StatusForbidden, "Forbidden", message}
}

// isOwnHost reports whether a Host header names this server. It ignores the port.
func (s *Server) isOwnHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	ip := net.ParseIP(name)
	loopback := strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
	return loopback || name != "" && strings.EqualFold(name, s.host)
}

// authorize returns an error if the Authorization headers do not contain the token. No error quotes
// a header.
func (s *Server) authorize(headers []string) error {
	if len(headers) != 1 {
		return errors.New("there must be one Authorization header")
	}
	scheme, credentials, _ := strings.Cut(headers[0], " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return s.checkToken(credentials)
	case strings.EqualFold(scheme, "SharedAccessSignature"):
		return s.checkSignature(credentials)
	}
	return errors.New("the Authorization header begins with neither Bearer nor SharedAccessSignature")
}

func (s *Server) checkToken(token string) error {
	if subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1 {
		return errors.New("the token is not the one of this emulator, which makes a new token at each start")
	}
	return nil
}

// checkSignature checks an API token in the format of IoT Central, with the token of the control
// API as its signature: sr=…&sig=…&skn=…&se=…
func (s *Server) checkSignature(text string) error {
	fields := map[string]string{}
	for field := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(field, "=")
		if _, repeated := fields[name]; repeated {
			return errors.New("a field of the signature is given twice")
		}
		fields[name] = value
	}
	for _, name := range []string{"sr", "sig", "skn", "se"} {
		if fields[name] == "" {
			return errors.New("the signature lacks " + name)
		}
	}
	if len(fields) > 4 {
		return errors.New("the signature has a field other than sr, sig, skn and se")
	}
	signature, err := url.QueryUnescape(fields["sig"])
	if err != nil {
		return errors.New("the signature's sig is not percent-encoded")
	}
	if err := s.checkToken(signature); err != nil {
		return err
	}
	expires, err := strconv.ParseInt(fields["se"], 10, 64)
	switch {
	case err != nil:
		return errors.New("the signature's se is not a number of milliseconds")
	case time.Now().UnixMilli() >= expires:
		return errors.New("the signature has expired: its se must be a time in the future, in milliseconds since 1970")
	}
	return nil
}
