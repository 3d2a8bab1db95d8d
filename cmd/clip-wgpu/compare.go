package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// peer is another program's measurement.
type peer struct {
	System      string  `json:"system"`
	EP          string  `json:"ep"` // execution provider
	Model       string  `json:"model"`
	File        string  `json:"file"` // of the model, named after it
	Tower       string  `json:"tower"`
	Batch       int     `json:"batch"`
	ItemsPerS   float64 `json:"items_per_s"`
	GFLOPS      float64 `json:"gflops"`
	CPUMsPerRun float64 `json:"cpu_ms_per_run"` // of a batch; 0 where unknown
}

// peerModels are the short names of models in peers' files.
var peerModels = map[string]string{"b32": "ViT-B-32", "b16": "ViT-B-16", "l14": "ViT-L-14", "rn50": "RN50"}

// readPeers reads JSON lines.
func readPeers(path string) ([]peer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var peers []peer
	for d := json.NewDecoder(f); ; {
		var p peer
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return peers, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s, value %d: want JSON lines: %w", path, len(peers)+1, err)
		}
		peers = append(peers, p)
	}
}

// model is our name of what was measured.
func (p peer) model() string {
	short, _, _ := strings.Cut(cmp.Or(p.Model, p.File), "-")
	return cmp.Or(peerModels[short], p.Model)
}

func (p peer) name() string {
	return strings.Join(strings.Fields(strings.Join([]string{p.System, p.EP, p.File}, " ")), " ")
}

func (p peer) cpuMsPerItem() float64 { return p.CPUMsPerRun / float64(max(1, p.Batch)) }

// compareTable is a Markdown table of ours and, below all of ours for the same
// model, tower and batch, the median measurement of each peer. The last column is
// how many times the CPU time of our first line for it a line takes.
func compareTable(ours []measurement, peers []peer) string {
	var b strings.Builder
	b.WriteString("| model | tower | batch | system | CPU ms/item | items/s | GFLOP/s | CPU time, ours = 1 |\n")
	b.WriteString("|---|---|---:|---|---:|---:|---:|---:|\n")
	row := func(first measurement, system string, cpu, speed, gflops float64) {
		ms, ratio := "", ""
		if cpu > 0 && first.CPUMsPerItem > 0 {
			ms, ratio = fmt.Sprintf("%.0f", cpu), fmt.Sprintf("%.2f", cpu/first.CPUMsPerItem)
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %.2f | %.1f | %s |\n", first.Model, first.Tower, first.Batch, system, ms, speed, gflops, ratio)
	}
	type subject struct {
		model, tower string
		batch        int
	}
	done := map[subject]bool{}
	for _, first := range ours {
		key := subject{first.Model, first.Tower, first.Batch}
		if done[key] {
			continue
		}
		done[key] = true
		for _, m := range ours {
			if (subject{m.Model, m.Tower, m.Batch}) == key {
				row(first, fmt.Sprintf("**clip-wgpu**, %s weights", m.Weights), m.CPUMsPerItem, m.ItemsPerS, m.GFLOPS)
			}
		}
		for _, p := range mediansOf(peers, func(p peer) bool { return subject{p.model(), p.Tower, p.Batch} == key }) {
			row(first, p.name(), p.cpuMsPerItem(), p.ItemsPerS, p.GFLOPS)
		}
	}
	return b.String()
}

// mediansOf are the middle measurements of each peer among those wanted, in the
// order in which the peers first come: by CPU time, where some tell it, or else by
// speed; of two in the middle the better.
func mediansOf(peers []peer, want func(peer) bool) []peer {
	byName := map[string][]peer{}
	var names []string
	for _, p := range peers {
		if !want(p) {
			continue
		}
		if byName[p.name()] == nil {
			names = append(names, p.name())
		}
		byName[p.name()] = append(byName[p.name()], p)
	}
	var medians []peer
	for _, name := range names {
		all := byName[name]
		slices.SortStableFunc(all, func(a, b peer) int {
			return cmp.Or(cmp.Compare(a.CPUMsPerRun, b.CPUMsPerRun), cmp.Compare(b.ItemsPerS, a.ItemsPerS))
		})
		if tells := slices.IndexFunc(all, func(p peer) bool { return p.CPUMsPerRun > 0 }); tells > 0 {
			all = all[tells:]
		}
		medians = append(medians, all[(len(all)-1)/2])
	}
	return medians
}
