package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/clip-wgpu/clip-wgpu/cmd/clip-wgpu/internal/verify"
	"github.com/spf13/cobra"
)

const verifyHelp = `verify compares what this device computes with reference results of open_clip.

A case is a folder with a meta.json that names its kind, and the files of that kind. Of
most these are a model (config.json, model.safetensors), what it is given
(inputs.safetensors) and what it makes of it (outputs.safetensors). The kinds are

  forward            features, logits and what layers make; gradients (grads.json)
  intermediates      forward_intermediates with the options of combos.json
  end_to_end         pictures and texts to probabilities, and a zero-shot classifier
  coca               forward of a model with a decoder, and its captions (generate.json,
                     sampling.safetensors)
  training           losses, gradients and weights over steps (curves.json, grads_*), with
                     locks (locks.json)
  bn_train           batch norms in training: gradients and running statistics
  locks              which parameters locks leave trainable and decay skips (locks.json)
  containers         the same weights in files of other formats
  tokenizer          token ids of CLIP's tokenizer (*.jsonl)
  hf_tokenizers      token ids of Hugging Face's and OpenAI's tokenizers (rows.json.gz)
  preprocess         pictures to what a model is given
  naflex_preprocess  pictures to sequences of patches
  jpeg               JPEGs to pixels
  pos_embed_resize   position embeddings in other sizes, and learning rates
  tables             what towers of published sizes have beside weights: angles of rotary
                     positions, sinusoids, buckets of distances, biases by offset, masks of
                     windows, resized grids of positions (tables.json)

Every tensor gets a row: its largest absolute error and the tolerance, which is the
case's own. A row "not built" is about something that this program does not do yet; it
does not count as a failure.

Exit codes:
  0  everything within its tolerance
  1  something beyond it
  2  a case could not be run (and nothing was beyond its tolerance)`

func newVerifyCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "verify CASE…",
		Short: "Check this device against reference results",
		Long:  verifyHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageErrorf(cmd, "which case? give at least one folder")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, cases []string) error { return verifyCases(cmd, g, cases) },
	}
}

func verifyCases(cmd *cobra.Command, g *globals, cases []string) error {
	v := verify.New(g.gpu())
	defer func() {
		if cmd.Context().Err() == nil { // else a case may still be running
			v.Close()
		}
	}()
	stderr := newConsole(cmd.ErrOrStderr(), false)
	failed, broken := 0, 0
	for i, dir := range cases {
		stderr.update("%d of %d cases, now %s", i, len(cases), dir)
		r := caseResult{dir: dir}
		r.rows, r.err = interruptible(cmd.Context(), func() ([]verify.Row, error) { return v.Run(cmd.Context(), dir) })
		stderr.clear()
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		if err := r.write(cmd.OutOrStdout(), g.json, g.quiet); err != nil {
			return err
		}
		if r.err != nil {
			stderr.problem("%s: %v", dir, r.err)
			broken++
		}
		if r.count(verify.Fail) > 0 {
			failed++
		}
	}
	switch {
	case failed > 0:
		return &exitError{exitFailure, fmt.Sprintf("%d of %d cases beyond their tolerance", failed, len(cases))}
	case broken > 0 && len(cases) == 1:
		return &exitError{code: exitUsage} // what was wrong is said
	case broken > 0:
		return &exitError{exitUsage, fmt.Sprintf("%d of %d cases could not be run", broken, len(cases))}
	}
	return nil
}

// caseResult is what came out of a case.
type caseResult struct {
	dir  string
	rows []verify.Row
	err  error
}

func (r *caseResult) count(s verify.Status) (n int) {
	for _, row := range r.rows {
		if row.Status == s {
			n++
		}
	}
	return n
}

func (r *caseResult) write(w io.Writer, asJSON, quiet bool) error {
	switch {
	case asJSON && quiet:
		return newJSONLines(w).Encode(r.summary())
	case asJSON:
		return r.writeLines(w)
	case quiet:
		s := r.summary()
		_, err := fmt.Fprintf(w, "%-10s %s: %d ok, %d FAIL, %d not built\n", s.Status, s.Case, s.OK, s.Fail, s.NotBuilt)
		return err
	}
	return r.writeTable(w)
}

// verifySummary is a case's line with --quiet.
type verifySummary struct {
	Case     string `json:"case"`
	Status   string `json:"status"` // ok, FAIL or cannot run
	OK       int    `json:"ok"`
	Fail     int    `json:"fail"`
	NotBuilt int    `json:"not_built"`
	Error    string `json:"error,omitempty"`
}

// summary counts the rows of a case. Its status is FAIL where a row fails, even if the
// case also ended with an error.
func (r *caseResult) summary() verifySummary {
	s := verifySummary{
		Case: verify.Name(r.dir), Status: string(verify.OK),
		OK: r.count(verify.OK), Fail: r.count(verify.Fail), NotBuilt: r.count(verify.NotBuilt),
	}
	switch {
	case s.Fail > 0:
		s.Status = string(verify.Fail)
	case r.err != nil:
		s.Status = verify.ErrCannotRun.Error()
	}
	if r.err != nil {
		s.Error = oneLine(r.err.Error())
	}
	return s
}

func (r *caseResult) writeTable(w io.Writer) error {
	if len(r.rows) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "case\ttensor\tmax abs error\ttolerance\tresult\t")
	for _, row := range r.rows {
		deviation, tolerance := fmt.Sprintf("%.2g", row.Error), fmt.Sprintf("%.2g", row.Tolerance)
		if row.Status == verify.NotBuilt {
			deviation, tolerance = "-", "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", row.Case, row.Tensor, deviation, tolerance, row.Status, row.Note)
	}
	fmt.Fprintln(t)
	return t.Flush()
}

// verifyLine is a row with --json.
type verifyLine struct {
	Case      string   `json:"case"`
	Tensor    string   `json:"tensor"`
	Error     *float64 `json:"max_abs_error"` // null: not a number, or not built
	Tolerance *float64 `json:"tolerance"`
	Status    string   `json:"status"`
	Note      string   `json:"note,omitempty"`
}

func (r *caseResult) writeLines(w io.Writer) error {
	lines := newJSONLines(w)
	for _, row := range r.rows {
		line := verifyLine{Case: row.Case, Tensor: row.Tensor, Status: string(row.Status), Note: row.Note}
		if row.Status != verify.NotBuilt {
			line.Error, line.Tolerance = finite(row.Error), finite(row.Tolerance)
		}
		if err := lines.Encode(line); err != nil {
			return err
		}
	}
	if r.err != nil {
		return newJSONLines(w).Encode(r.summary())
	}
	return nil
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
