package gallery

import "github.com/clip-wgpu/clip-wgpu/gpu/window"

// press acts on a key.
func (g *Gallery) press(p window.Press) []Effect {
	switch p.Key {
	case window.KeyEscape:
		return g.escape()
	case window.KeyEnter, window.KeyC:
		path, ok := g.target()
		switch {
		case !ok:
		case p.Key == window.KeyC:
			return []Effect{Copy(path)}
		case p.Control:
			return []Effect{Reveal(path)}
		default:
			return []Effect{Open(path)}
		}
	case window.KeyBackspace, window.KeyDelete:
		return g.erase(p)
	case window.KeyPageUp, window.KeyPageDown:
		page := g.gridBox().Dy() - g.px(scrollLine)
		if p.Key == window.KeyPageUp {
			page = -page
		}
		g.scroll += page
		g.clampScroll()
	default:
		g.move(p)
	}
	return nil
}

// escape clears the query, and closes the window where there is none.
func (g *Gallery) escape() []Effect {
	if len(g.field.text) == 0 && g.picture == "" {
		return []Effect{Quit{}}
	}
	g.field.clear()
	g.picture = ""
	return g.search()
}

// erase removes a rune or a word, and before the first one the picture.
func (g *Gallery) erase(p window.Press) []Effect {
	to := g.field.right(p.Control)
	if p.Key == window.KeyBackspace {
		to = g.field.left(p.Control)
	}
	removed := g.field.remove(to)
	if !removed && p.Key == window.KeyBackspace && g.picture != "" {
		g.picture, removed = "", true
	}
	if removed {
		return g.search()
	}
	return nil
}

// move moves the caret or, once the down key has left the field, the selection.
func (g *Gallery) move(p window.Press) {
	if g.selected < 0 {
		switch p.Key {
		case window.KeyLeft:
			g.field.caret = g.field.left(p.Control)
		case window.KeyRight:
			g.field.caret = g.field.right(p.Control)
		case window.KeyHome:
			g.field.caret = 0
		case window.KeyEnd:
			g.field.caret = len(g.field.text)
		case window.KeyDown:
			first, _ := g.inSight()
			g.selectHit(first)
		}
		return
	}
	columns := g.grid().columns
	switch p.Key {
	case window.KeyLeft:
		g.selectHit(g.selected - 1)
	case window.KeyRight:
		g.selectHit(g.selected + 1)
	case window.KeyUp:
		if g.selected < columns {
			g.selected, g.scroll = -1, 0
			return
		}
		g.selectHit(g.selected - columns)
	case window.KeyDown:
		g.selectHit(g.selected + columns)
	case window.KeyHome:
		g.selectHit(0)
	case window.KeyEnd:
		g.selectHit(len(g.found.Hits) - 1)
	}
}

// selectHit selects the nearest hit that there is, and scrolls to it.
func (g *Gallery) selectHit(i int) {
	g.selected = max(min(i, len(g.found.Hits)-1), 0)
	if len(g.found.Hits) == 0 {
		g.selected = -1
		return
	}
	box, cell := g.gridBox(), g.cell(g.selected)
	edge := g.px(margin) / 2
	if under := cell.Max.Y - box.Max.Y + edge; under > 0 {
		g.scroll += under
		cell = g.cell(g.selected)
	}
	if over := box.Min.Y + edge - cell.Min.Y; over > 0 {
		g.scroll -= over
	}
	g.clampScroll()
}
