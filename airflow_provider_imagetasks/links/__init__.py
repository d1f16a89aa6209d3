"""Links on a task instance's page, there while it waits as well."""
