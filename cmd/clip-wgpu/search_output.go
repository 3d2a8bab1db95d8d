package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/clip-wgpu/clip-wgpu/search"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

// write writes the hits.
func (sr *searching) write(ctx context.Context, w io.Writer, x *index.Index, found search.Result) error {
	lines := newJSONLines(w)
	draw := sr.previewer(w)
	for _, hit := range found.Hits {
		path := pathOf(hit.Picture, sr.query.Filter)
		var err error
		switch {
		case sr.json:
			err = lines.Encode(foundLine(hit, path))
		case sr.paths0:
			_, err = io.WriteString(w, path+"\x00")
		case len(sr.query.Terms) == 0:
			_, err = fmt.Fprintln(w, shown(path))
		default:
			_, err = fmt.Fprintf(w, "%6.3f  %s\n", hit.Score, shown(path))
		}
		if err == nil && sr.show {
			err = draw(ctx, x, hit.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hitLine is what --json writes of a hit.
type hitLine struct {
	Score    float32   `json:"score"`
	Path     rawText   `json:"path"`
	Paths    []rawText `json:"paths"`
	Width    int       `json:"width"`
	Height   int       `json:"height"`
	Size     int64     `json:"size"`
	Modified string    `json:"modified"`
	Taken    string    `json:"taken,omitempty"`
}

func foundLine(h search.Hit, path string) hitLine {
	line := hitLine{
		Score: h.Score, Path: rawText(path), Width: h.Width, Height: h.Height,
		Size: h.Size, Modified: h.Modified.Format(time.RFC3339),
	}
	for _, path := range h.Paths {
		line.Paths = append(line.Paths, rawText(path))
	}
	if !h.Taken.IsZero() {
		line.Taken = h.Taken.Format(time.RFC3339)
	}
	return line
}

// pathOf is the first of a picture's paths that a filter lets pass.
func pathOf(p index.Picture, f index.Filter) string {
	for _, path := range p.Paths {
		if (len(f.Under) == 0 || inOneOf(path, f.Under)) && !inOneOf(path, f.Exclude) && hasAll(filepath.Base(path), f.Names) {
			return path
		}
	}
	return p.Paths[0]
}

// inOneOf reports whether a file is in or below one of the folders.
func inOneOf(path string, folders []string) bool {
	for _, folder := range folders {
		if full, err := filepath.Abs(folder); err == nil {
			full = strings.TrimSuffix(full, string(filepath.Separator))
			if strings.HasPrefix(path, full+string(filepath.Separator)) {
				return true
			}
		}
	}
	return false
}

// hasAll reports whether a name has all parts, in either case.
func hasAll(name string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(strings.ToLower(name), strings.ToLower(part)) {
			return false
		}
	}
	return true
}
