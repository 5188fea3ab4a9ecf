package service_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// query sends a query and returns the answer.
func (w world) query(text string, header map[string]string) reply {
	w.Helper()
	body, _ := json.Marshal(map[string]string{"query": text})
	r := w.request("A", "POST", "/devices/query"+hubVersion, string(body))
	for name, value := range header {
		r.Header.Set(name, value)
	}
	return w.do(r)
}

// fourDevices returns a world with dev1 to dev4 at hub A: dev1 and dev2 have tags, dev3 is disabled.
func fourDevices(t *testing.T) world {
	w := onSockets(t)
	for i := 1; i <= 4; i++ {
		w.create("A", fmt.Sprintf("dev%d", i))
	}
	w.create("B", "other")
	w.want(200, "A", "PATCH", "/twins/dev1"+hubVersion, "",
		`{"tags":{"site":"north","floor":1,"active":true,"it's":"x"},"properties":{"desired":{"fan":{"speed":3}}}}`)
	w.want(200, "A", "PATCH", "/twins/dev2"+hubVersion, "", `{"tags":{"site":"south","floor":10}}`)
	w.want(200, "A", "PUT", "/devices/dev3"+hubVersion, `"*"`, `{"status":"disabled"}`)
	return w
}

func TestAQuerySelectsTheTwinsOfItsCondition(t *testing.T) {
	w := fourDevices(t)
	for condition, want := range map[string]string{
		"":                     "dev1 dev2 dev3 dev4",
		"tags.site = 'north'":  "dev1",
		`tags.site = "north"`:  "dev1",
		"tags.site != 'north'": "dev2", // no comparison holds for a tag that is not defined
		"tags.site <> 'north'": "dev2",
		"tags.floor > 2":       "dev2",
		"tags.floor <= 1.0":    "dev1",
		"tags.floor >= 1e1":    "dev2",
		"tags.floor < '2'":     "",
		"tags.active = true":   "dev1",
		"tags.active":          "400",
		"status = 'disabled'":  "dev3",
		"STATUS = 'disabled' or deviceId = 'dev1'":                           "dev1 dev3",
		"deviceId IN ['dev1', 'dev4', 'dev9']":                               "dev1 dev4",
		"NOT deviceId IN ['dev1']":                                           "dev2 dev3 dev4",
		"IS_DEFINED(tags.site) AND NOT (tags.floor = 1 OR tags.floor=2)":     "dev2",
		"is_defined(properties.desired.fan.speed)":                           "dev1",
		"properties.desired.fan.speed = 3 AND connectionState = 'Connected'": "",
		"STARTSWITH(deviceId, 'dev') AND ENDSWITH(deviceId, '2')":            "dev2",
		"CONTAINS(tags.site, 'ort')":                                         "dev1",
		"capabilities.iotEdge = false AND properties.reported.$version=1":    "dev1 dev2 dev3 dev4",
		"tags.site = 'it\\'s'":                                               "",
		"tags.site = null":                                                   "",
		"deviceId = 'dev1' AND status = 'enabled' OR deviceId = 'dev3'":      "dev1 dev3",
		"deviceId = 'dev1' AND (status = 'x' OR deviceId = 'dev3')":          "",
		"tags.site = 'north":                                                 "400",
		"tags.site =":                                                        "400",
		"tags.site LIKE 'n'":                                                 "400",
		"(tags.floor = 1":                                                    "400",
		"tags.floor = 1)":                                                    "400",
		"tags.floor IN (1)":                                                  "400",
		"STARTS_WITH(deviceId, 'dev')":                                       "400", // azure-docs issue 110329
		"tags.floor = 1 ORDER BY deviceId":                                   "400",
		strings.Repeat("(", 1000) + "a=1":                                    "400",
		strings.Repeat("NOT ", 1000) + "a=1":                                 "400",
		"tags.site = '" + strings.Repeat("x", 9000) + "'":                    "400",
	} {
		text := "SELECT * FROM devices"
		if condition != "" {
			text += " WHERE " + condition
		}
		got := w.query(text, nil)
		if want == "400" {
			w.wantHubError(got, http.StatusBadRequest, "ArgumentInvalid")
			continue
		}
		var ids []string
		for _, twin := range decoded[[]any](w, got.text) {
			ids = append(ids, at(twin, "deviceId").(string))
		}
		if strings.Join(ids, " ") != want || got.Header.Get("x-ms-item-type") != "Twin" {
			t.Errorf("%.80s: %s, want %s", condition, ids, want)
		}
	}
}

func TestAQuerySelectsColumnsOrANumber(t *testing.T) {
	w := fourDevices(t)
	for text, want := range map[string]string{
		"SELECT COUNT() FROM devices":                                      `[{"count":4}]`,
		"select count() as n from devices where tags.floor > 0":            `[{"n":2}]`,
		"SELECT deviceId, tags.site AS place FROM devices WHERE floor = 1": `[]`,
		"SELECT deviceId, tags.site AS place FROM devices WHERE tags.floor>0": `[{"deviceId":"dev1","place":"north"},` +
			`{"deviceId":"dev2","place":"south"}]`,
		"SELECT properties.desired.fan FROM devices WHERE deviceId = 'dev1'": `[{"fan":{"speed":3}}]`,
		"SELECT FROM devices":                                       "400",
		"SELECT * FROM devices.modules":                             "400",
		"SELECT * FROM enrollments":                                 "400",
		"SELECT * FROM devices.jobs":                                "400",
		"SELECT TOP 5 * FROM devices":                               "400",
		"SELECT tags.site, COUNT() FROM devices GROUP BY tags.site": "400",
		"DELETE * FROM devices":                                     "400",
		"":                                                          "400",
		"SELECT * FROM devices; SELECT * FROM devices":              "400",
	} {
		got := w.query(text, nil)
		if want == "400" {
			w.wantHubError(got, http.StatusBadRequest, "ArgumentInvalid")
		} else if strings.TrimSpace(got.text) != want || got.Header.Get("x-ms-item-type") != "Raw" {
			t.Errorf("%s: %s, want %s", text, got.text, want)
		}
	}
}

// Each item comes once, also if devices appear and vanish between two pages.
func TestQueriesAreAnsweredInPages(t *testing.T) {
	w := fourDevices(t)
	var ids []string
	header := map[string]string{"x-ms-max-item-count": "2"}
	for {
		got := w.query("SELECT * FROM devices", header)
		page := decoded[[]any](w, got.text)
		for _, twin := range page {
			ids = append(ids, at(twin, "deviceId").(string))
		}
		if len(page) > 2 {
			t.Errorf("a page has %d items", len(page))
		}
		next := got.Header.Get("x-ms-continuation")
		if next == "" {
			break
		}
		if header["x-ms-continuation"] == "" {
			w.want(204, "A", "DELETE", "/devices/dev1"+hubVersion, `"*"`, "")
			w.create("A", "dev25")
		}
		header["x-ms-continuation"] = next
	}
	if want := []string{"dev1", "dev2", "dev25", "dev3", "dev4"}; !slices.Equal(ids, want) {
		t.Errorf("the pages have %s, want %s", ids, want)
	}
	for name, value := range map[string]string{"x-ms-max-item-count": "0", "x-ms-continuation": "nonsense"} {
		w.wantHubError(w.query("SELECT * FROM devices", map[string]string{name: value}), 400, "ArgumentInvalid")
	}
	for i := range 3 {
		w.enroll(fmt.Sprintf("e%d", i), "", "")
	}
	r := w.request(dps, "POST", "/enrollments/query"+dpsVersion, `{"query":"SELECT * FROM enrollments"}`)
	r.Header.Set("x-ms-max-item-count", "2")
	got := w.do(r)
	if n := len(decoded[[]any](w, got.text)); n != 2 || got.Header.Get("x-ms-continuation") == "" {
		t.Errorf("DPS returns %d enrollments: %s", n, got.text)
	}
	r = w.request(dps, "POST", "/enrollments/query"+dpsVersion, `{"query":"SELECT * WHERE a=1"}`)
	w.wantDPSError(w.do(r), 400, 400004)
}
