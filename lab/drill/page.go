package drill

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed page.html
var pageText string

// page makes a report a single HTML file without other resources.
var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"lanes": lanes,
	"x":     func(c *Card, at float64) float64 { return round(at * 1000 / max(c.Timeline.end(), 1)) },
	"wide": func(c *Card, m Moment, least float64) float64 {
		return max(least, round(max(m.Until-m.At, 0)*1000/max(c.Timeline.end(), 1)))
	},
	"second": func(c *Card) float64 { return round(1000 / max(c.Timeline.end(), 1)) },
	"deep":   func(m Moment) float64 { return min(1, round(0.25+0.15*float64(m.Count)/max(m.Until-m.At, 1))) },
	"times":  func(n, by int) int { return n * by }, "plus": func(a, b int) int { return a + b },
}).Parse(pageText))

// WritePage writes the report with a timeline for each scenario.
func (r *Report) WritePage(out io.Writer) error { return page.Execute(out, r) }

// A band is one row in the picture of a timeline.
type band struct {
	Name    string
	Moments Timeline
}

// lanes divides a timeline into the faults, the outages, and what the client did at each host.
func lanes(c *Card) (bands []band) {
	index := map[string]int{}
	for _, m := range c.Timeline {
		name := m.Who
		if m.Where != "" {
			name = m.Where
		}
		i, ok := index[name]
		if !ok {
			i = len(bands)
			index[name], bands = i, append(bands, band{Name: name})
		}
		bands[i].Moments = append(bands[i].Moments, m)
	}
	return bands
}

func (t Timeline) end() (last float64) {
	for _, m := range t {
		last = max(last, m.At, m.Until)
	}
	return last
}
