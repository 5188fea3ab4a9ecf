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

// guard lets nobody in who has not the token. A browser is turned away before that: a page from elsewhere says its Origin, or, if
// its name was made to lead here, the wrong Host.
func (s *Server) requireToken(inside http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, fromPage := r.Header["Origin"]
		switch {
		case r.URL.Path == "/ready": // for whoever starts containers; it says that the emulator runs, and nothing else
			w.WriteHeader(http.StatusNoContent)
		case fromPage:
			writeProblem(w, &problem{http.StatusForbidden, "Forbidden", "A request with an Origin comes from a web page, and none is served here."})
		case !s.isOwnHost(r.Host):
			writeProblem(w, &problem{http.StatusForbidden, "Forbidden", "The Host of the request is neither a loopback address nor the one that is advertised."})
		default:
			if err := s.authorize(r.Header["Authorization"]); err != nil {
				w.Header().Set("WWW-Authenticate", "Bearer")
				writeProblem(w, &problem{http.StatusUnauthorized, "Unauthorized", "The request is not authorized: " + err.Error() + "."})
				return
			}
			inside.ServeHTTP(w, r)
		}
	})
}

// isMe judges a Host header, whatever its port.
func (s *Server) isOwnHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	ip := net.ParseIP(name)
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback() || name != "" && strings.EqualFold(name, s.host)
}

// admits tells why the Authorization headers do not let a request in. No error quotes them.
func (s *Server) authorize(headers []string) error {
	if len(headers) != 1 {
		return errors.New("there has to be one Authorization header")
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
		return errors.New("the token is not this emulator's, which makes a new one at each start")
	}
	return nil
}

// admitsSignature takes an API token as IoT Central's are, with the door's token for a signature: sr=…&sig=…&skn=…&se=…
func (s *Server) checkSignature(text string) error {
	fields := map[string]string{}
	for field := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(field, "=")
		if _, again := fields[name]; again {
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
		return errors.New("the signature has more than sr, sig, skn and se")
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
		return errors.New("the signature has expired; its se is in milliseconds")
	}
	return nil
}
