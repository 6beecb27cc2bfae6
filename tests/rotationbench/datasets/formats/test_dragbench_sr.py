from format_layouts import dragbench_sr, the_problem


def test_dragbench_sr_needs_as_many_targets_as_sources(tmp_path):
    dragbench_sr(tmp_path / "cat")
    (tmp_path / "cat" / "prompt.json").write_text('{"prompt": "", "source": [[1, 2], [3, 4]], "target": [[5, 6]]}')
    assert "expected as many targets as sources, 2, got 1" in the_problem(tmp_path)
