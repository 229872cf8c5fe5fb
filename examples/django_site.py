"""Django, whose LOGGING setting is a `dictConfig`: `gunicorn django_site:application`."""

import logging

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

import logship

logship.install()
settings.configure(
    SECRET_KEY="an example's",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"logship": {"()": "logship.installed_handler"}},
        "root": {"handlers": ["logship"], "level": "INFO"},
    },
)

log = logging.getLogger("orders")


def place(request, order):
    log.info("/orders/%d placed", order, extra={"order": order, "method": request.method})
    return HttpResponse("ok")


urlpatterns = [path("orders/<int:order>", place)]
application = get_wsgi_application()
