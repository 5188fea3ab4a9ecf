package service

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A problem is an error with what both services show of it.
type problem struct {
	status  int
	code    int    // six digits, as DPS shows it
	name    string // as a hub shows it
	message string
}

func (p *problem) Error() string { return p.message }

func invalid(format string, values ...any) error {
	return &problem{status: http.StatusBadRequest, code: 400004, name: "ArgumentInvalid",
		message: fmt.Sprintf(format, values...)}
}

// problemOf returns the problem of an error.
func (a *api) problemOf(err error) *problem {
	var known *problem
	var tooLarge *http.MaxBytesError
	message := sentence(err)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &tooLarge):
		return &problem{http.StatusRequestEntityTooLarge, 413001, "MessageTooLarge",
			fmt.Sprintf("The body is larger than %d bytes.", tooLarge.Limit)}
	case emulator.IsTooLarge(err):
		return &problem{http.StatusRequestEntityTooLarge, 413001, "MessageTooLarge", message}
	case errors.Is(err, emulator.ErrNotEmulated):
		return &problem{http.StatusNotImplemented, 501001, "NotImplemented", message}
	case errors.Is(err, emulator.ErrInvalid):
		return &problem{http.StatusBadRequest, 400004, "ArgumentInvalid", message}
	case errors.Is(err, emulator.ErrClosed), errors.Is(err, context.Canceled):
		return &problem{http.StatusServiceUnavailable, 503001, "ServiceUnavailable", "The emulator is closing."}
	}
	if p := a.toError(err); p != nil {
		p.message = message
		return p
	}
	return &problem{http.StatusInternalServerError, 500001, "ServerError", message}
}

// sentence returns an error's text as a sentence, without the prefix "emulator: ".
func sentence(err error) string {
	text := strings.ReplaceAll(err.Error(), "emulator: ", "")
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// writeHubError writes an error as a hub does: azure-iot-sdk-csharp issue 37 shows a whole answer.
func writeHubError(w http.ResponseWriter, p *problem) {
	writeJSON(w, answer{p.status, map[string]string{
		"Message":          "ErrorCode:" + p.name + ";" + strings.TrimSuffix(p.message, "."),
		"ExceptionMessage": "Tracking ID:" + hubTrackingID(),
	}, map[string]string{"iothub-errorcode": p.name}})
}

// hubTrackingID returns an ID in the form of a hub's.
func hubTrackingID() string {
	return newID() + "-G:0-TimeStamp:" + time.Now().UTC().Format("01/02/2006 15:04:05")
}

// writeDPSError writes an error as DPS does: the REST reference (Individual Enrollment,
// ProvisioningServiceErrorDetails).
func writeDPSError(w http.ResponseWriter, p *problem) {
	writeJSON(w, answer{p.status, map[string]any{
		"errorCode": p.code, "trackingId": newID(), "message": p.message, "timestampUtc": timestamp(time.Now()),
	}, map[string]string{"x-ms-error-code": fmt.Sprint(p.code)}})
}

func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // crypto/rand never fails
	return hex.EncodeToString(id[:])
}

// timestamp formats a time as the services do. The zero time is the year 1, as theirs.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.9999999Z") }

func writeJSON(w http.ResponseWriter, a answer) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("x-ms-request-id", newID())
	for name, value := range a.header {
		header.Set(name, value)
	}
	if a.value == nil {
		w.WriteHeader(a.status)
		return
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(a.value); err != nil { // for example, a number of a device that JSON cannot hold
		a.status = http.StatusInternalServerError
		text.Reset()
		text.WriteString(`{"message":"The answer cannot be encoded as JSON."}`)
	}
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.status)
	_, _ = w.Write(text.Bytes()) // an error means that the client has disconnected
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maximumBody))
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		err = invalid("The body is incomplete.")
	}
	return text, err
}

// decode decodes a body that is one JSON object. Numbers keep their text, as json.Number. decode
// refuses a body that it would change, such as one with a name that occurs twice.
func decode(text []byte, into any) error {
	if text = bytes.TrimSpace(text); len(text) == 0 || text[0] != '{' {
		return invalid("The body is not a JSON object.")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return invalid("The body cannot be read: %s.", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); err != io.EOF {
		return invalid("Something follows the JSON object of the body.")
	}
	if err := emulator.CheckJSON(text); err != nil {
		return invalid("Decoding would change the body: %s.", err)
	}
	return nil
}

// withETag returns an answer of 200 with the ETag of its value.
func withETag(value any, etag string) answer {
	return answer{http.StatusOK, value, map[string]string{"ETag": `"` + etag + `"`}}
}

// section returns one half of a twin with its metadata. A hub shows versions only for desired
// properties.
func section(s emulator.TwinSection, versions bool) map[string]any {
	shown := maps.Clone(s.Properties)
	if shown == nil {
		shown = map[string]any{}
	}
	shown["$version"], shown["$metadata"] = s.Version, metadata(s.Metadata, versions)
	return shown
}

func metadata(m emulator.Metadata, versions bool) map[string]any {
	shown := map[string]any{"$lastUpdated": timestamp(m.Updated)}
	if versions {
		shown["$lastUpdatedVersion"] = m.Version
	}
	for name, member := range m.Members {
		shown[name] = metadata(member, versions)
	}
	return shown
}
