"""`gradscope studies`: what there is to run."""

import json

import click


@click.command(epilog="Example: gradscope studies")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def command(as_json: bool) -> None:
    """List the built-in studies, one line each."""
    from gradscope.study.catalogue import built_in_studies
    from gradscope.study.loading import load_study

    studies = {name: load_study(path) for name, path in built_in_studies().items()}
    if as_json:
        rows = [{"name": name, "title": spec.title, "question": spec.question} for name, spec in studies.items()]
        click.echo(json.dumps(rows, indent=2))
        return
    width = max(map(len, studies), default=0)
    for name, spec in studies.items():
        click.echo(f"{name:<{width}}  {spec.title}")
