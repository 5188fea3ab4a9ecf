package control

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A problem is an error with the status and code of IoT Central's answer.
type problem struct {
	status  int
	code    string
	message string
}

func (p *problem) Error() string { return p.message }

// invalidBody returns the problem for a body that cannot be decoded.
func invalidBody(format string, values ...any) error {
	return &problem{http.StatusBadRequest, "InvalidBody", fmt.Sprintf(format, values...)}
}

// invalidContent returns the problem for a body whose values are not allowed.
func invalidContent(format string, values ...any) error {
	return &problem{http.StatusUnprocessableEntity, "InvalidBody", fmt.Sprintf(format, values...)}
}

func notFound(format string, values ...any) error {
	return &problem{http.StatusNotFound, "NotFound", fmt.Sprintf(format, values...)}
}

func conflict(err error) error {
	return &problem{http.StatusConflict, "Conflict", sentence(err)}
}

// toProblem converts an error of the cloud to a problem.
func toProblem(err error) *problem {
	var known *problem
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &tooLarge):
		message := fmt.Sprintf("The body is larger than %d bytes.", tooLarge.Limit)
		return &problem{http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", message}
	case errors.Is(err, emulator.ErrUnknownDevice):
		return &problem{http.StatusNotFound, "NotFound", sentence(err)}
	case errors.Is(err, emulator.ErrClosed), errors.Is(err, context.Canceled):
		return &problem{http.StatusServiceUnavailable, "ServiceUnavailable", "The emulator is closing."}
	}
	return &problem{http.StatusInternalServerError, "InternalServerError", sentence(err)}
}

// sentence returns an error's text as a sentence, without the prefix "emulator: ".
func sentence(err error) string {
	text := strings.ReplaceAll(err.Error(), "emulator: ", "")
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// writeProblem writes a problem as the answer.
func writeProblem(w http.ResponseWriter, p *problem) {
	now := time.Now().UTC()
	w.Header().Set("x-ms-error-code", p.code)
	writeAnswer(w, p.status, map[string]any{"error": map[string]string{
		"code": p.code, "message": p.message, "requestId": strings.ToLower(rand.Text()),
		"time": now.Format(http.TimeFormat),
	}})
}

// writeAnswer writes a value as JSON. Nil means an empty body.
func writeAnswer(w http.ResponseWriter, status int, value any) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	if value == nil {
		w.WriteHeader(status)
		return
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		status = http.StatusInternalServerError // for example, a number of a device that JSON cannot hold
		text.Reset()
		text.WriteString(`{"error":{"code":"InternalServerError","message":"The answer cannot be encoded as JSON."}}`)
	}
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // an error means that the client has disconnected
}

// readBody reads the body of a request.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maximumBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if !errors.As(err, &tooLarge) {
			err = invalidBody("The body is incomplete.")
		}
		return nil, err
	}
	return text, nil
}
