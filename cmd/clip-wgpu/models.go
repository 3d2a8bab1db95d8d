package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/spf13/cobra"
)

func newModelsCommand(g *globals) *cobra.Command {
	var coverage, shapes, runs bool
	var family string
	cmd := &cobra.Command{
		Use:   "models [NAME]",
		Short: "List open_clip's models and which of them run here",
		Long: `models lists the models that open_clip has by name, a line for each: its family,
number of parameters, image size in pixels, whether it runs here, the tags of its
published weights, and what is missing if it does not run. Elsewhere, --model
NAME:TAG downloads and uses the weights of a tag.

Models of images and text that run come first, then those that do not run, then
models of other kinds. --runs lists only models that run, --family only those of
one family, such as SigLIP. --coverage counts the models of images and text that
run, by family.

NAME --shapes lists the tensors of that model's state dict and nothing else, one
on each line: its name and dimensions, separated by blanks. A scalar has no
dimensions.`,
		Example: `  clip-wgpu models ViT-B-32
  clip-wgpu models --coverage`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usageErrorf(cmd, "one NAME expected, %d given", len(args))
			case shapes && len(args) == 0:
				return usageErrorf(cmd, "--shapes wants the NAME of a model")
			case coverage && (shapes || len(args) > 0 || runs || family != ""):
				return usageErrorf(cmd, "--coverage is about all models")
			case len(args) > 0 && (runs || family != ""):
				return usageErrorf(cmd, "--runs and --family choose among all models, without a NAME")
			case shapes && g.json:
				return usageErrorf(cmd, "--shapes writes lines, not --json")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if shapes {
				return writeShapes(cmd.OutOrStdout(), args[0])
			}
			list, err := listModels(args, runs, family)
			switch {
			case err != nil:
				return err
			case coverage:
				return writeCoverage(cmd.OutOrStdout(), list, g.json)
			case g.json:
				return writeModelLines(cmd.OutOrStdout(), list)
			}
			return writeModels(cmd.OutOrStdout(), list)
		},
	}
	cmd.Flags().BoolVar(&runs, "runs", false, "list only models that run here")
	cmd.Flags().StringVar(&family, "family", "", "list only models of a `family`")
	cmd.Flags().BoolVar(&coverage, "coverage", false, "count the models that run here, by family")
	cmd.Flags().BoolVar(&shapes, "shapes", false, "list the state dict of one model")
	return cmd
}

// listModels returns the named model, or those that the filters leave of all.
func listModels(names []string, runs bool, family string) ([]models.Info, error) {
	if len(names) > 0 {
		m, err := models.Find(names[0])
		if err != nil {
			return nil, err
		}
		return []models.Info{m.Info()}, nil
	}
	list, err := models.List()
	if err != nil {
		return nil, err
	}
	inFamily := func(m models.Info) bool { return family == "" || strings.EqualFold(m.Family, family) }
	if !slices.ContainsFunc(list, inFamily) {
		names := map[string]bool{}
		for _, m := range list {
			names[m.Family] = true
		}
		return nil, fmt.Errorf("no family %q of models, there are %s", family, strings.Join(slices.Sorted(maps.Keys(names)), ", "))
	}
	list = slices.DeleteFunc(list, func(m models.Info) bool { return runs && !m.Supported || !inFamily(m) })
	rank := func(m models.Info) int {
		switch {
		case !m.ImageText:
			return 2
		case !m.Supported:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b models.Info) int { return rank(a) - rank(b) })
	return list, nil
}

func writeShapes(w io.Writer, name string) error {
	config, err := models.Config(name)
	if err != nil {
		return err
	}
	list, err := models.Shapes(config)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	for _, s := range list {
		b.WriteString(s.Name)
		for _, n := range s.Shape {
			b.WriteString(" " + strconv.Itoa(n))
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}

func writeModelLines(w io.Writer, list []models.Info) error {
	lines := newJSONLines(w)
	for _, m := range list {
		if err := lines.Encode(m); err != nil {
			return err
		}
	}
	return nil
}

func writeModels(w io.Writer, list []models.Info) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tFAMILY\tPARAMETERS\tIMAGE\tRUNS\tTAGS AND WHAT IS MISSING")
	for _, m := range list {
		parameters, image, runs := "?", "-", "no"
		if m.Parameters > 0 {
			parameters = fmt.Sprintf("%.1fM", float64(m.Parameters)/1e6)
		}
		if m.ImageText {
			image = imageSize(m.ImageSize)
		}
		notes := slices.Sorted(maps.Keys(m.Pretrained))
		if m.Supported {
			runs = "yes"
		} else {
			notes = append(notes, "(missing: "+m.Missing+")")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, m.Family, parameters, image, runs, strings.Join(notes, " "))
	}
	return t.Flush()
}

func imageSize(s config.Size) string {
	if s[0] == s[1] {
		return strconv.Itoa(s[0])
	}
	return fmt.Sprintf("%d×%d", s[0], s[1])
}

// coverage is a row of the table.
type coverage struct {
	Family    string `json:"family"`
	Supported int    `json:"supported"`
	Models    int    `json:"models"`
}

func writeCoverage(w io.Writer, list []models.Info, asJSON bool) error {
	counts := map[string]*coverage{}
	total := coverage{Family: "all"}
	for _, m := range list {
		if !m.ImageText {
			continue
		}
		if counts[m.Family] == nil {
			counts[m.Family] = &coverage{Family: m.Family}
		}
		for _, c := range []*coverage{counts[m.Family], &total} {
			c.Models++
			if m.Supported {
				c.Supported++
			}
		}
	}
	var rows []coverage
	for _, family := range models.Families() {
		if c := counts[family]; c != nil {
			rows = append(rows, *c)
		}
	}
	if asJSON {
		lines := newJSONLines(w)
		for _, row := range append(rows, total) {
			if err := lines.Encode(row); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FAMILY\tRUN\tMODELS")
	for _, row := range rows {
		fmt.Fprintf(t, "%s\t%d\t%d\n", row.Family, row.Supported, row.Models)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %d\n", total.Supported, total.Models)
	return err
}
