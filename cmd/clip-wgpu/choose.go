package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/search/index"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// The model that is offered for a user's own pictures: the smallest of open_clip's that
// finds photographs well.
const (
	recommendedModel = "ViT-B-32-256:datacomp_s34b_b86k"
	recommendedFacts = "605 MB, MIT license"
)

// modelVariable names the model of those who do not want to name it each time.
const modelVariable = "CLIP_WGPU_MODEL"

// chooseHelp documents chooseModel.
const chooseHelp = `The model is that of --model or of the index, which remembers it; a model that has been
moved is named once by --model, and has to be the same. For a new index
without --model it is that of the environment's ` + modelVariable + `, and without that, too,
a terminal is asked whether to download ` + recommendedModel + `
(` + recommendedFacts + `). The embedded ` + checkpoint.Embedded + ` has to be named: it knows drawings only.`

// chooseModel sets the model that works on a user's own pictures, of x where there is an
// index already, else nil. It refuses flags that name another than that of x.
func (g *globals) chooseModel(cmd *cobra.Command, x *index.Index) error {
	if g.model != "" {
		g.model = fullSource(g.model)
	}
	if x != nil {
		return g.takeModel(cmd, x)
	}
	if g.model == "" && os.Getenv(modelVariable) != "" {
		g.model = fullSource(os.Getenv(modelVariable))
	}
	if g.model == "" {
		agrees, err := g.agrees(cmd, "No model is named. Download "+recommendedModel+" ("+recommendedFacts+")?")
		if err != nil {
			return err
		}
		if !agrees {
			return usageErrorf(cmd, "no model named: --model %s (%s) finds photographs; --model %s is in this program and knows drawings only; %s names one for good",
				recommendedModel, recommendedFacts, checkpoint.Embedded, modelVariable)
		}
		g.model = recommendedModel
	}
	return nil
}

// takeModel takes the model of an index, unless a flag says where it is now: whether files
// have the same weights is seen when they are loaded, and names tell models apart.
func (g *globals) takeModel(cmd *cobra.Command, x *index.Index) error {
	var id clip.Identity
	if err := json.Unmarshal([]byte(x.Options().Identity), &id); err != nil {
		return fmt.Errorf("index %s: %w", x.Path(), index.ErrDamaged)
	}
	model, weights := x.Options().Model, weightsFlag(id.Weights)
	other := g.model != "" && g.model != model && !filepath.IsAbs(g.model) && !filepath.IsAbs(model)
	if other || cmd.Flags().Changed("weights") && g.weights != weights {
		return fmt.Errorf("index %s has vectors of model %s with weights %s, not of %s with %s; --index makes another",
			x.Path(), model, weights.String(), cmp.Or(g.model, model), g.weights.String())
	}
	g.model, g.weights = cmp.Or(g.model, model), weights
	return nil
}

// fullSource is a model's source; of a folder or file with its full path, because another
// folder may be the current one next time.
func fullSource(source string) string {
	if _, err := os.Stat(source); err == nil && source != checkpoint.Embedded {
		if full, err := filepath.Abs(source); err == nil {
			return full
		}
	}
	return source
}

// agrees asks a question on a terminal. Without one the answer is no.
func (g *globals) agrees(cmd *cobra.Command, question string) (bool, error) {
	stdin, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(stdin.Fd())) || !g.console().terminal {
		return false, nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	answer, err := interruptible(cmd.Context(), func() (string, error) { return bufio.NewReader(stdin).ReadString('\n') })
	if cmd.Context().Err() != nil {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer)) // the end of the input is a no
	return answer == "y" || answer == "yes", nil
}
