"""What Prefect learns of a run: the only place that imports it beside pipeline and ui."""
