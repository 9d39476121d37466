"""The report of a pruning run, as JSON and as a table."""

import pytest

from tvm_c4n.pruning.report import ProjectionReport, Report


def report():
    projections = []
    for layer, removed in ((0, 1), (1, 3)):
        for kind in ("in_proj", "out_proj"):
            factor = 1 + layer + (kind == "out_proj")
            projections.append(
                ProjectionReport(
                    name=f"backbone.layers.{layer}.mixer.{kind}.weight",
                    layer=layer,
                    projection=kind,
                    removed=removed if kind == "in_proj" else 2,
                    dtype="int4",
                    masked_error=0.2 * factor,
                    output_error=0.1 * factor,
                    size_bytes=1500,
                )
            )
    return Report(
        source="model",
        recipe={"method": "obs", "dtype": "int4"},
        calibration="text.jsonl",
        projections=tuple(projections),
        source_bytes=4_000_000,
        disk_bytes=1_000_000,
        packed_bytes=900_000,
        run_secs=12.34,
    )


def test_errors_are_averaged_over_layers():
    assert report().mean_error("in_proj") == pytest.approx(0.15)
    assert report().mean_error("out_proj", "masked_error") == pytest.approx(0.5)


def test_the_table_has_a_line_for_each_kind_that_was_pruned():
    lines = str(report()).splitlines()
    assert lines[0] == "model: obs, int4, 12.3 s"
    assert [line.split() for line in lines[2:4]] == [
        ["in_proj", "1-3", "int4", "0.3000", "0.1500", "3.0"],
        ["out_proj", "2", "int4", "0.5000", "0.2500", "3.0"],
    ]
    assert lines[-1] == "weights: 4.00 MB in the source, 0.90 MB pruned"
    assert len(lines) == 5


def test_a_mixture_is_called_by_what_it_is_made_of():
    """Not by the recipe's dtype, which no weight may have."""
    rows = report().projections
    rows = (rows[0].model_copy(update={"dtype": "int3"}), *rows[1:])
    dtypes = {"head": "int8", "layers.0.in_proj": "int3"}
    recipe = {"method": "obs", "dtype": "float16", "dtypes": dtypes}
    mixed = report().model_copy(update={"projections": rows, "recipe": recipe})
    assert mixed.heading == "model: obs, int4 x3, int3 x1, embeddings int8, 12.3 s"
    assert mixed.dtypes("in_proj") == "int4 x1, int3 x1"
    assert mixed.dtypes("out_proj") == "int4"
    assert str(mixed).startswith(f"{mixed.heading}\n")


def test_a_report_survives_json():
    assert Report.model_validate_json(report().model_dump_json()) == report()
