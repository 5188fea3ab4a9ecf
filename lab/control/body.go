package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"

	"giantlizard.example/failover/lab/emulator"
)

// Examples of bodies. The error for a body that cannot be used shows the example of its route.
const (
	deviceExample      = `{"displayName":"Pump 1","enabled":true}`
	propertiesExample  = `{"fanSpeed":3}`
	templateExample    = `{"displayName":"Pump","capabilityModel":` + modelExample + `}`
	modelExample       = `{"contents":[{"@type":"Telemetry","name":"temp","schema":"double"}]}`
	attestationExample = `{"type":"symmetricKey","symmetricKey":{"primaryKey":"…"}}, with a key in base64`
	failoverExample    = `{"ttl":5}`
	createExample      = `{"hub":"A"}`
	injectionExample   = `{"target":"A","fault":"fin","parameters":{"for":"30s"}}`
)

// longestQuotedBody is the longest body that commandExample repeats, in bytes.
const longestQuotedBody = 100

// commandExample returns an example of the body of a command. If the body is the argument alone, the
// example is what its sender wanted.
func commandExample(body []byte) string {
	var argument bytes.Buffer
	if len(body) > longestQuotedBody || json.Compact(&argument, body) != nil || isObject(body) {
		return `{"request":"hello"}, with the argument of the command as request`
	}
	return `{"request":` + argument.String() + `}, with the argument of the command as request`
}

func isObject(body []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) }

// decode decodes a body that is empty or one JSON object. Numbers keep their text, as json.Number. decode
// refuses a body that it would change, such as one with a name that occurs twice, and if strict is true
// also unknown members. Each error shows the example.
func decode(text []byte, into any, example string, strict bool) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	if !isObject(text) {
		return invalidBody("The body is not a JSON object. Give one such as %s.", example)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if strict {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(into); err != nil {
		return invalidBody("The body cannot be used: %s. Give an object such as %s.", reasonOf(err), example)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return invalidBody("Something follows the JSON object of the body. Give one object such as %s.", example)
	}
	if err := emulator.CheckJSON(text); err != nil {
		return invalidBody("Decoding would change the body: %s.", err)
	}
	return checkSpelling(text, into)
}

// reasonOf returns what is wrong with a body in the words of JSON, not of Go.
func reasonOf(err error) string {
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	case errors.As(err, &wrong) && wrong.Field != "":
		kind, _, _ := strings.Cut(wrong.Value, " ") // a number follows its type
		return wrong.Field + " must be " + nameOf(wrong.Type) + ", but has the type " + kind
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// nameOf returns the name of a type in JSON.
func nameOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

// checkSpelling refuses an object that has a name in two spellings, because encoding/json ignores
// case in names of fields.
func checkSpelling(text []byte, into any) error {
	var names map[string]json.RawMessage
	if _, isMap := into.(*map[string]any); isMap || json.Unmarshal(text, &names) != nil {
		return nil
	}
	lower := map[string]string{}
	for _, name := range sortedKeys(names) {
		if other, twice := lower[strings.ToLower(name)]; twice {
			return invalidBody("The body has %.60q and %.60q, which are the same name.", other, name)
		}
		lower[strings.ToLower(name)] = name
	}
	return nil
}
