package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
)

type answer struct {
	Label       string
	Probability float32
}

// answerWriter writes what was found about one image.
type answerWriter interface {
	write(image string, results []answer) error
}

func (c *classifier) newAnswers(w io.Writer, images []input) answerWriter {
	switch c.format {
	case "jsonl":
		return newJSONAnswers(w, c.model)
	case "csv":
		return &recordAnswers{w: w, records: writeCSV}
	case "tsv":
		return &recordAnswers{w: w, records: writeTSV}
	}
	return newTable(w, c.model, images, c.labels)
}

type jsonAnswers struct {
	*json.Encoder
	model, activation string
}

func newJSONAnswers(w io.Writer, m *clip.Model) *jsonAnswers {
	a := &jsonAnswers{Encoder: newJSONLines(w), model: m.Name()}
	if _, sigmoid := m.LogitBias(); sigmoid {
		a.activation = "sigmoid"
	}
	return a
}

func (a *jsonAnswers) write(image string, results []answer) error {
	type result struct {
		Label       rawText `json:"label"`
		Probability float32 `json:"probability"`
	}
	list := make([]result, len(results))
	for i, r := range results {
		list[i] = result{rawText(r.Label), r.Probability}
	}
	return a.Encode(struct {
		Image      rawText  `json:"image"`
		Model      rawText  `json:"model"`
		Activation string   `json:"activation,omitempty"`
		Results    []result `json:"results"`
	}{rawText(image), rawText(a.model), a.activation, list})
}

// recordAnswers writes a record for each label of an image.
type recordAnswers struct {
	w       io.Writer
	records recordWriter
	begun   bool
}

func (a *recordAnswers) write(image string, results []answer) error {
	var records [][]string
	if !a.begun {
		a.begun = true
		records = append(records, []string{"image", "label", "probability"})
	}
	for _, r := range results {
		records = append(records, []string{image, r.Label, strconv.FormatFloat(float64(r.Probability), 'g', -1, 32)})
	}
	return a.records(a.w, records...)
}

// table writes a line an image, in columns, for people to read.
type table struct {
	w                       io.Writer
	heading                 string // until it is written
	imageWidth, answerWidth int
}

func newTable(w io.Writer, m *clip.Model, images []input, labels []string) *table {
	heading := "model: " + m.Name()
	if m.Name() == checkpoint.Embedded {
		heading += " (knows emoji and icon drawings, has never seen a photograph)"
	}
	if _, sigmoid := m.LogitBias(); sigmoid {
		heading += "; it has a logit bias: each label by itself (sigmoid)"
	}
	const maxWidth = 60
	t := &table{w: w, heading: oneLine(heading) + "\n"}
	for _, image := range images {
		t.imageWidth = min(maxWidth, max(t.imageWidth, utf8.RuneCountInString(shown(image.id))))
	}
	for _, label := range labels {
		t.answerWidth = min(maxWidth, max(t.answerWidth, utf8.RuneCountInString(shown(label))))
	}
	return t
}

func (t *table) write(image string, results []answer) error {
	line := t.heading + fmt.Sprintf("%-*s", t.imageWidth, shown(image))
	t.heading = ""
	for _, a := range results {
		line += fmt.Sprintf("  %5.1f %% %-*s", 100*a.Probability, t.answerWidth, shown(a.Label))
	}
	_, err := fmt.Fprintln(t.w, strings.TrimRight(line, " "))
	return err
}
